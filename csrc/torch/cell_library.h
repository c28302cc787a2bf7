// The library of a compiled cell: fastrnn._C.CellLibrary.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "../cells/compiled_cell.h"
#include "checked_program.h"

namespace fastrnn {

// It is never unloaded: programs keep its functions.
class CellLibrary {
 public:
  // Throws std::runtime_error.
  explicit CellLibrary(const std::string& path);

  // The program, which the library's function of this name runs from now on. Throws std::invalid_argument where it is
  // of another cell.
  CheckedProgram with(const CheckedProgram& program, CompiledStep CompiledCell::* of) const;

 private:
  const CompiledCell* cell;
};

void add_cell_library(pybind11::module_& m);

}  // namespace fastrnn
