// The CPU's side of the operators.
#include <torch/library.h>

#include "../cpu/kernel_table.h"
#include "../cpu/thread_count.h"
#include "cpu.h"
#include "operators.h"

namespace fastrnn::cpu {
namespace {

using at::Tensor;

template <class T>
T* data_or_null(const Tensor& t, int64_t offset = 0) {
  return t.defined() ? t.mutable_data_ptr<T>() + offset : nullptr;
}

template <class T>
void run_backward(const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients,
                  void (*kernel)(const Problem<T>&)) {
  const CallThreads threads(wanted_threads());
  bool dx_written = false;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T> p = problem<T>(layer, d, threads.count, output, saved);
    int64_t h_offset = d * layer.batch * layer.output_size, c_offset = d * layer.batch * layer.hidden_size;
    if (gradients.output.defined()) p.dy = rows_of<const T>(layer, gradients.output, d * layer.output_size);
    p.dhn = data_or_null<T>(gradients.hn, h_offset), p.dcn = data_or_null<T>(gradients.cn, c_offset);
    if (gradients.input.defined())
      p.dx = rows_of<T>(layer, gradients.input), p.add_to_dx = dx_written, dx_written = true;
    p.dh0 = data_or_null<T>(gradients.h0, h_offset), p.dc0 = data_or_null<T>(gradients.c0, c_offset);
    const DirectionWeights& dw = gradients.weights[d];
    p.dw_ih = data_or_null<T>(dw.w_ih), p.dw_hh = data_or_null<T>(dw.w_hh), p.dw_hr = data_or_null<T>(dw.w_hr);
    p.db_ih = data_or_null<T>(dw.b_ih), p.db_hh = data_or_null<T>(dw.b_hh);
    for (int k = 0; k < layer.cell.vectors; ++k) p.dvectors[k] = data_or_null<T>(dw.vectors[k]);
    kernel(p);
  }
}

const Device device = {
    "float32 or float64",
    [](at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kDouble; },
    saved_sizes,
    [](at::ScalarType dtype) { return dtype; },
    [](const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved) {
      forward(layer, output, hn, cn, 0, saved);
    },
    [](const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients) {
      if (layer.dtype == at::kDouble)
        run_backward<double>(layer, output, saved, gradients, kernels().of_double.backward);
      else
        run_backward<float>(layer, output, saved, gradients, kernels().of_float.backward);
    },
};

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) { register_device<device>(m); }

}  // namespace
}  // namespace fastrnn::cpu
