// The GPU's side of the operators that csrc/torch/module.cpp declares: on the device of the input and the current
// stream there.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "direction.h"
#include "passes.h"

namespace fastrnn::cuda {
namespace {

using at::Tensor;

const Device device = {
    dtypes,
    serves,
    saved_sizes,
    accumulated,
    [](const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved) {
      const c10::cuda::CUDAGuard guard(layer.device);
      forward(layer, output, hn, cn, saved, c10::cuda::getCurrentCUDAStream());
    },
    [](const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients) {
      const c10::cuda::CUDAGuard guard(layer.device);
      backward(layer, output, saved, gradients, c10::cuda::getCurrentCUDAStream());
    },
};

TORCH_LIBRARY_FRAGMENT(fastrnn, m) { m.def(team_schema, team_for); }
TORCH_LIBRARY_IMPL(fastrnn, CUDA, m) { register_device<device>(m); }

}  // namespace
}  // namespace fastrnn::cuda
