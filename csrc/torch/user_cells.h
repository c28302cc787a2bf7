// The time loop of users' cells, as Python calls it: fastrnn._C.CellKernel.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

void add_user_cells(pybind11::module_& m);

}  // namespace fastrnn
