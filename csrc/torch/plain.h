// Plain calls: of dense tensors on the CPU, and with nothing that watches them. They need no dispatcher, which takes as
// long as a step of a small layer.
#pragma once
#include <ATen/core/Tensor.h>

namespace fastrnn {

// Whether nothing on this thread observes operators: no autocast, tracing, functorch, torch_function or torch_dispatch
// mode, and no profiler.
bool unobserved();

// Whether a tensor or thread has these dispatch keys and no other. (Their own difference keeps the bits of backends.)
inline bool within(c10::DispatchKeySet keys, c10::DispatchKeySet allowed) {
  return !(keys.raw_repr() & ~allowed.raw_repr());
}

// Whether t is a dense tensor on the CPU that carries no derivative of forward mode. Of any Python class. Here, since
// it is asked for every tensor of a call.
inline bool is_plain(const at::Tensor& t) {
  constexpr c10::DispatchKeySet plain({c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU,
                                       c10::DispatchKey::AutocastCPU, c10::DispatchKey::ADInplaceOrView});
  return within(t.key_set(), plain) && !t._fw_grad(0).defined();
}

}  // namespace fastrnn
