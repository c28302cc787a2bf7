// Streams as Python has them.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

// Adds the class Stream, of which fastrnn/streaming.py makes the public one.
void add_stream(pybind11::module_& m);

}  // namespace fastrnn
