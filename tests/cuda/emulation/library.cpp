// The CUDA layers where no GPU is, as operators on CPU tensors: csrc/torch/cuda.cpp and all of csrc/cuda, compiled for
// the CPU against the GPU of gpu.h and the functions of runtime.cpp and cublas.cpp. What this cannot show is what
// the hardware and nvcc make of it.
#include <ATen/ops/empty.h>

#include "../../../csrc/cuda/passes.h"
#include "../../../csrc/cuda/rows.h"
#include "../../../csrc/torch/cuda.h"
#include "../../../csrc/torch/schema.h"
#include "gpu.h"

namespace fastrnn::cuda {
namespace {

template <class T>
at::Tensor sums_of(const at::Tensor& rows, at::ScalarType accumulated) {
  at::Tensor sums = at::empty({rows.size(1)}, rows.options().dtype(accumulated));
  const cudaError_t error =
      sum_rows(static_cast<Accumulated<T>*>(sums.mutable_data_ptr()), static_cast<const T*>(rows.const_data_ptr()),
               rows.stride(0), rows.size(0), rows.size(1), false, nullptr);
  TORCH_CHECK(!error);
  return sums;
}

}  // namespace

TORCH_LIBRARY(fastrnn_cuda_on_cpu, m) {
  m.def(ForwardArguments::schema);
  m.def(BackwardArguments::schema);
  m.def(team_schema, team_for);
  m.def("set_multiprocessors(int[] groups) -> ()",
        [](std::vector<int64_t> groups) { emulated::device.groups = std::move(groups), ++emulated::device.number; });
  m.def("set_captured(bool captured) -> ()", [](bool captured) { emulated::captured = captured; });
  m.def("set_chunk_bytes(int bytes) -> int", [](int64_t bytes) {
    chunk_bytes.gradients = 4 * bytes;
    return std::exchange(chunk_bytes.products, bytes);
  });
  m.def("sum_rows(Tensor rows) -> Tensor", [](const at::Tensor& rows) {
    switch (rows.scalar_type()) {
      case at::kDouble:
        return sums_of<double>(rows, at::kDouble);
      case at::kFloat:
        return sums_of<float>(rows, at::kFloat);
      case at::kHalf:
        return sums_of<__half>(rows, at::kFloat);
      default:
        return sums_of<__nv_bfloat16>(rows, at::kFloat);
    }
  });
  m.def("fail_next_launch() -> ()", [] { emulated::next_launch = cudaErrorInvalidConfiguration; });
  m.def("fail_next_product() -> ()", [] { emulated::next_product_fails = true; });
  // The errors of the persistent kernels, forward and backward, where there are none.
  m.def("sequence_errors(str cell, bool float64) -> int[]", [](c10::string_view cell, bool float64) {
    const Number number = float64 ? Number::float64 : Number::float16;
    ForwardSequence forward{};
    forward.step.cell = &cell_named(cell), forward.step.number = number;
    BackwardSequence backward{};
    backward.step.cell = forward.step.cell, backward.step.number = number;
    return std::vector<int64_t>{forward_sequence(forward, nullptr), backward_sequence(backward, nullptr)};
  });
  m.def("last_error() -> int", [] { return int64_t(cudaGetLastError()); });
  m.def("calls() -> Dict(str, int)", [] {
    const emulated::Calls& c = emulated::calls;
    c10::Dict<std::string, int64_t> calls;
    calls.insert("launches", c.launches), calls.insert("products", c.products), calls.insert("copies", c.copies);
    calls.insert("attributes set", c.attributes), calls.insert("others", c.others);
    calls.insert("handles without a context", c.without_context);
    calls.insert("sequences", c.sequences);  // of the launches, those of persistent kernels
    return calls;
  });
}

TORCH_LIBRARY_IMPL(fastrnn_cuda_on_cpu, CPU, m) { register_device<device>(m); }

}  // namespace fastrnn::cuda
