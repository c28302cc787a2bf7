#include "cell_library.h"

#include <dlfcn.h>

#include <stdexcept>

namespace py = pybind11;

namespace fastrnn {

CellLibrary::CellLibrary(const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(std::string("the compiled cell cannot be loaded: ") + dlerror());
  const auto exported = reinterpret_cast<const CompiledCell* (*)()>(dlsym(handle, "fastrnn_compiled_cell"));
  if (!exported) throw std::runtime_error(path + " is no compiled cell");
  cell = exported();
  if (cell->version != compiled_cell_version)
    throw std::runtime_error(path + " is a compiled cell of version " + std::to_string(cell->version) +
                             ", and this is version " + std::to_string(compiled_cell_version));
}

CheckedProgram CellLibrary::with(const CheckedProgram& program, CompiledStep CompiledCell::* of) const {
  const CompiledStep& step = cell->*of;
  const Program plain = program.program();
  if (step.inputs != plain.inputs || step.outputs != plain.outputs)
    throw std::invalid_argument("the library is of another cell: its program has " + std::to_string(step.inputs) +
                                " inputs and " + std::to_string(step.outputs) + " outputs");
  return program.with(step.programs);
}

void add_cell_library(py::module_& m) {
  py::class_<CellLibrary>(m, "CellLibrary", "the programs of a cell, compiled (csrc/cells/compiled_cell.h)")
      .def(py::init<const std::string&>(), py::arg("path"))
      .def("inference",
           [](const CellLibrary& of, const CheckedProgram& p) { return of.with(p, &CompiledCell::inference); })
      .def("forward", [](const CellLibrary& of, const CheckedProgram& p) { return of.with(p, &CompiledCell::forward); })
      .def("backward",
           [](const CellLibrary& of, const CheckedProgram& p) { return of.with(p, &CompiledCell::backward); });
}

}  // namespace fastrnn
