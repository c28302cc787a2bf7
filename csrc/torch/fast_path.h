// The fast path from Python to the kernels.
#pragma once
#include <pybind11/pybind11.h>

#include "arguments.h"

namespace fastrnn {

// Multiplications and additions of a call beyond which other Python threads run meanwhile, about 20 us: to let them
// costs 0.3 us.
constexpr double worth_the_lock = 1e6;

// Reads the options of packed layers and cells, `_call` of fastrnn/quantization/layers.py. Returns the layers.
int64_t read_packed_options(pybind11::handle options, Arguments& to);

// What a layer returns, or None where the call is anything but plain: see fast_path.cpp. `layer` is the dictionary of a
// torch.nn.RNNBase of this `type`: read here, since passing every option from Python takes longer (docs/adr/0005).
// `options`: the keyword arguments of the call, a dictionary.
pybind11::object run_layer(pybind11::handle cell, pybind11::handle input, pybind11::handle hx, pybind11::handle layer,
                           pybind11::handle type, pybind11::handle options);

// The weights of such a layer, or None where it is torch.nn.RNNBase's business which they are.
pybind11::object flat_weights(pybind11::handle layer);

// What a cell returns after one step: input (B, I), states (B, H).
pybind11::object run_step(pybind11::handle cell, pybind11::handle input, pybind11::handle hx, pybind11::handle weights,
                          pybind11::handle biases);

// What a layer or cell with packed weights returns; of its dictionary see fastrnn/quantization/layers.py.
pybind11::object infer_packed(pybind11::handle input, pybind11::handle hx, pybind11::handle layer,
                              pybind11::handle options);
pybind11::object infer_packed_step(pybind11::handle input, pybind11::handle hx, pybind11::handle cell);

}  // namespace fastrnn
