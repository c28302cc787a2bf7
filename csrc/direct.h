// The short way from Python to the kernels, for inference.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

// What a layer returns, or None where the call is anything but plain: see direct.cpp.
pybind11::object infer(std::string_view cell, pybind11::handle input, pybind11::handle hx, pybind11::sequence weights,
                       int64_t num_layers, bool biases, bool bidirectional, bool batch_first);

// The same for one step of a cell: input (B, I), states (B, H).
pybind11::object infer_step(std::string_view cell, pybind11::handle input, pybind11::handle hx,
                            pybind11::sequence weights);

}  // namespace fastrnn
