#include "cpu.h"

#include <ATen/Parallel.h>

#include "../cpu/forked.h"
#include "../cpu/kernel_table.h"
#include "../cpu/thread_count.h"

namespace fastrnn::cpu {

using at::Tensor;

namespace {

WeightFormat format(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? WeightFormat::bfloat16
         : dtype == at::kHalf   ? WeightFormat::float16
                                : WeightFormat::same;
}

int64_t saved_row(const Layer& layer) {
  return saved_width(layer.cell, layer.hidden_size, layer.projected, c10::elementSize(layer.dtype));
}

template <class T>
void run(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, int64_t first,
         const Tensor& saved, const Passes<T>& passes) {
  const CallThreads threads(wanted_threads());
  Problem<T> problems[2];
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T>& p = problems[d] = problem<T>(layer, d, threads.count, output, saved);
    p.hn = hn.mutable_data_ptr<T>() + (first + d) * layer.batch * layer.output_size;
    if (cn.defined() && cn.numel()) p.cn = cn.mutable_data_ptr<T>() + (first + d) * layer.batch * layer.hidden_size;
  }
  if (layer.directions == 2)
    passes.forward_both(problems[0], problems[1]);
  else
    passes.forward(problems[0]);
}

}  // namespace

int wanted_threads() { return forked() || at::in_parallel_region() ? 1 : at::get_num_threads(); }

std::vector<int64_t> saved_sizes(const Layer& layer) {
  if (!layer.recompute) return {layer.directions, layer.rows, saved_row(layer)};
  const int64_t checkpoints = (layer.times - 1) / least_steps_per_checkpoint + 1;  // of one step at least
  return {layer.directions, checkpoints, layer.batch,
          checkpoint_width(layer.cell, layer.hidden_size, c10::elementSize(layer.dtype))};
}

void forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, int64_t first,
             const Tensor& saved) {
  if (layer.rows == 0) return;
  // A segment may be longer than the least (see steps_per_checkpoint): then some checkpoints belong to none.
  if (saved.defined() && layer.recompute) saved.zero_();
  if (layer.dtype == at::kDouble)
    run<double>(layer, output, hn, cn, first, saved, kernels().of_double);
  else
    run<float>(layer, output, hn, cn, first, saved, kernels().of_float);
}

template <class T>
Problem<T> problem(const Layer& layer, int64_t d, int threads, const Tensor& output, const Tensor& saved) {
  Problem<T> p{};
  p.cell = &layer.cell, p.reverse = d == 1, p.threads = threads;
  p.times = layer.times, p.batch = layer.batch, p.input_size = layer.input_size, p.hidden_size = layer.hidden_size;
  p.projection_size = layer.projected ? layer.output_size : 0;
  p.active = layer.active.data(), p.before = layer.before.data();
  auto weight = [&](const Tensor& t) {
    return Weights<T>{t.defined() ? t.const_data_ptr() : nullptr, format(layer.weight_dtype)};
  };
  const DirectionWeights& w = layer.weights[d];
  p.w_ih = weight(w.w_ih), p.w_hh = weight(w.w_hh), p.b_ih = weight(w.b_ih), p.b_hh = weight(w.b_hh);
  p.w_hr = weight(w.w_hr);
  for (int k = 0; k < layer.cell.vectors; ++k) p.vectors[k] = weight(w.vectors[k]);
  if (layer.h0) p.h0 = layer.h0->const_data_ptr<T>() + d * layer.batch * layer.output_size;
  if (layer.c0) p.c0 = layer.c0->const_data_ptr<T>() + d * layer.batch * layer.hidden_size;
  p.x = rows_of<const T>(layer, layer.input);
  p.y = rows_of<T>(layer, output, d * layer.output_size);
  p.recompute = layer.recompute;
  if (!saved.defined() || !saved.numel()) return p;
  T* of_direction = saved.mutable_data_ptr<T>() + d * saved.stride(0);
  if (p.recompute)
    p.checkpoints = of_direction;
  else
    p.saved = {of_direction, 0, saved_row(layer), saved_row(layer)};
  return p;
}

template Problem<float> problem(const Layer&, int64_t, int, const Tensor&, const Tensor&);
template Problem<double> problem(const Layer&, int64_t, int, const Tensor&, const Tensor&);

}  // namespace fastrnn::cpu
