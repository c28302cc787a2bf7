// Programs of users' cells, as Python objects: fastrnn._C.Program.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

void add_program(pybind11::module_& m);

}  // namespace fastrnn
