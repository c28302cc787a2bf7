// What Python asks of users' cells beside the operators.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

void add_user_cells(pybind11::module_& m);

}  // namespace fastrnn
