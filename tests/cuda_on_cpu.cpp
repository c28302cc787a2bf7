// The CUDA layers where no GPU is: the same loops over time and the same kernels, compiled for the CPU, whose threads
// run one after the other (csrc/cuda/launch.h), and the calls of cuBLAS (cublas_on_cpu). What this cannot show is what
// the hardware and nvcc make of it.
#include <ATen/ATen.h>

#include "../csrc/cuda/passes.h"
#include "../csrc/cuda/persistent_backward.cu"
#include "../csrc/cuda/persistent_forward.cu"
#include "../csrc/cuda/pointwise.cu"

const char* cudaGetErrorString(cudaError_t) { return "no such thing here"; }

// An H100, but for the number of its multiprocessors: few, so that rows of the batch share a team. Every such device
// has a number of its own.
static int device_number = 0;
cudaError_t cudaGetDevice(int* device) { return *device = device_number, cudaSuccess; }
cudaError_t cudaGetLastError() { return std::exchange(fastrnn::cuda::on_cpu::last_error, cudaSuccess); }

constexpr int most_shared = 227 << 10;
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  *value = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? most_shared
           : which == cudaDevAttrComputeCapabilityMajor     ? 9
                                                            : int(fastrnn::cuda::on_cpu::device.multiprocessors());
  return cudaSuccess;
}

static int64_t attributes_set = 0;
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return ++attributes_set, cudaSuccess; }

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* count, const void*, int, size_t shared) {
  return *count = shared <= most_shared, cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int* count, const void*, const cudaLaunchConfig_t* config) {
  *count = int(fastrnn::cuda::on_cpu::device.most_at_once(config->attrs->val.clusterDim.x));
  return *count ? cudaSuccess : fastrnn::cuda::on_cpu::failed(cudaErrorInvalidConfiguration);
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

TORCH_LIBRARY(fastrnn_cuda_on_cpu, m) {
  m.def(
      "forward(str cell, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] weights, bool biases, "
      "bool bidirectional, bool batch_first, bool save, bool recompute=False) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "backward(str cell, Tensor? d_output, Tensor? d_hn, Tensor? d_cn, Tensor input, Tensor? batch_sizes, Tensor? h0, "
      "Tensor? c0, Tensor[] weights, Tensor output, Tensor saved, bool biases, bool bidirectional, bool batch_first, "
      "bool[] needs) -> Tensor[]");
  m.def("sequences_run() -> int", [] { return on_cpu::clusters_run; });
  m.def(team_schema, team_for);
  m.def("set_multiprocessors(int[] groups) -> ()",
        [](std::vector<int64_t> groups) { on_cpu::device.groups = std::move(groups), ++device_number; });
  m.def("fail_next_launch() -> ()", [] { on_cpu::next_launch = cudaErrorInvalidConfiguration; });
  m.def("attributes_set() -> int", [] { return attributes_set; });
  m.def("last_error() -> int", [] { return int64_t(cudaGetLastError()); });
}

TORCH_LIBRARY_IMPL(fastrnn_cuda_on_cpu, CPU, m) { register_device<device>(m); }

}  // namespace fastrnn::cuda
