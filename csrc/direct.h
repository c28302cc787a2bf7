// The short way from Python to the kernels, for inference.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn {

// What a layer returns, or None where the call is anything but plain: see direct.cpp. `layer` is the dictionary of a
// torch.nn.RNNBase: read here, for naming every option in Python takes longer (docs/adr/0005).
pybind11::object infer(std::string_view cell, pybind11::handle input, pybind11::handle hx, pybind11::dict layer);

// The weights of such a layer, or None where it is torch.nn.RNNBase's business which they are.
pybind11::object flat_weights(pybind11::dict layer);

// What a cell returns after one step: input (B, I), states (B, H).
pybind11::object infer_step(std::string_view cell, pybind11::handle input, pybind11::handle hx, pybind11::list weights);

// Whether torch's operator is measured faster for an LSTM in bfloat16: where the processor has instructions for it,
// which the kernels here do not use, and the batch is large. AMD Zen 5, two threads, T32, torch's time over ours in
// inference and training: B8 H256 0.74 and 1.07, B16 H256 0.62 and 0.81, B32 H128 0.80 and 0.83, B64 H64 1.11 and 0.92.
bool torch_is_faster(int64_t times, int64_t batch, int64_t hidden_size);

}  // namespace fastrnn
