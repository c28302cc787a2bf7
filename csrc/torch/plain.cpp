#include "plain.h"

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/forward_grad.h>

namespace fastrnn {
namespace {

bool within(c10::DispatchKeySet keys, c10::DispatchKeySet allowed) {
  return !(keys.raw_repr() & ~allowed.raw_repr());  // their own difference keeps the bits of backends
}

}  // namespace

bool unobserved() {
  return within(c10::impl::tls_local_dispatch_key_set().included_, c10::default_included_set) &&
         !at::impl::torch_function_mode_enabled() && !at::autocast::is_autocast_enabled(at::kCPU) &&
         !at::hasCallbacks();
}

bool is_plain(const at::Tensor& t) {
  static const c10::DispatchKeySet plain =
      c10::DispatchKeySet({c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU, c10::DispatchKey::AutocastCPU,
                           c10::DispatchKey::ADInplaceOrView});
  return within(t.key_set(), plain) && !t._fw_grad(0).defined();
}

}  // namespace fastrnn
