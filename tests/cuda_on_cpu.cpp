// The CUDA layers where no GPU is: the same loops over time and the same kernels, compiled for the CPU, whose threads
// run one after the other (csrc/cuda/launch.h). Only the matrix products are others. What this cannot show is what the
// hardware and nvcc make of it.
#include <ATen/ATen.h>

#include "../csrc/cuda/passes.h"
#include "../csrc/cuda/persistent_backward.cu"
#include "../csrc/cuda/persistent_forward.cu"
#include "../csrc/cuda/pointwise.cu"
#include "../csrc/cuda/product.h"

const char* cudaGetErrorString(cudaError_t) { return "no such thing here"; }

// An H100, but for the number of its multiprocessors: few, so that rows of the batch share a team.
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  *value = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 227 << 10
           : which == cudaDevAttrComputeCapabilityMajor     ? 9
                                                            : 24;
  return cudaSuccess;
}

namespace fastrnn::cuda {
namespace {

const Device device = {
    dtypes,
    serves,
    saved_sizes,
    accumulated,
    [](const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn,
       const at::Tensor& saved) { forward(layer, output, hn, cn, saved, nullptr); },
    [](const Layer& layer, const at::Tensor& output, const at::Tensor& saved, const Gradients& gradients) {
      backward(layer, output, saved, gradients, nullptr);
    },
};

}  // namespace

// As cuBLAS does, with float32 rounded to TF32 where torch allows it.
void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, bool add) {
  const at::ScalarType wide = accumulated(a.scalar_type());
  const bool tf32 = a.scalar_type() == at::kFloat && at::globalContext().allowTF32CuDNN(at::Float32Op::RNN);
  auto operand = [&](const at::Tensor& t) {
    if (!tf32) return t.to(wide);
    at::Tensor rounded = t.clone(at::MemoryFormat::Contiguous);
    float* numbers = rounded.data_ptr<float>();
    for (int64_t i = 0; i < rounded.numel(); ++i) store_operand(numbers + i, numbers[i]);
    return rounded;
  };
  const at::Tensor product = at::mm(operand(a), operand(b));
  out.copy_(add ? out.to(wide) + product : product);
}

TORCH_LIBRARY(fastrnn_cuda_on_cpu, m) {
  m.def(
      "forward(str cell, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] weights, bool biases, "
      "bool bidirectional, bool batch_first, bool save, bool recompute=False) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "backward(str cell, Tensor? d_output, Tensor? d_hn, Tensor? d_cn, Tensor input, Tensor? batch_sizes, Tensor? h0, "
      "Tensor? c0, Tensor[] weights, Tensor output, Tensor saved, bool biases, bool bidirectional, bool batch_first, "
      "bool[] needs) -> Tensor[]");
  m.def("sequences_run() -> int", [] { return on_cpu::clusters_run; });
}

TORCH_LIBRARY_IMPL(fastrnn_cuda_on_cpu, CPU, m) { register_device<device>(m); }

}  // namespace fastrnn::cuda
