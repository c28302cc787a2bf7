// Plain calls: of dense tensors on the CPU, and with nothing that watches them. They need no dispatcher, which takes as
// long as a step of a small layer.
#pragma once
#include <ATen/core/Tensor.h>

namespace fastrnn {

// Whether nothing on this thread observes operators: no autocast, tracing, functorch, torch_function or torch_dispatch
// mode, and no profiler.
bool unobserved();

// Whether t is a dense tensor on the CPU that carries no derivative of forward mode. Of any Python class.
bool is_plain(const at::Tensor& t);

}  // namespace fastrnn
