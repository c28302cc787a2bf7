// Compiled cells, as Python loads them: fastrnn._C.CellLibrary.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

void add_cell_library(pybind11::module_& m);

}  // namespace fastrnn
