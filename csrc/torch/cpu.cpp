#include "cpu.h"

#include <torch/library.h>

#include "../cpu/kernel_table.h"
#include "../cpu/thread_count.h"
#include "problem.h"
#include "threads.h"

namespace fastrnn::cpu {

using at::Tensor;

namespace {

int64_t saved_row(const Layer& layer) {
  const Saves saves{layer.projected, layer.zoneout_h.defined(), layer.zoneout_c.defined()};
  return saved_width(layer.cell, layer.hidden_size, saves, c10::elementSize(layer.dtype));
}

std::vector<int64_t> saved_sizes(const Layer& layer) {
  if (!layer.recompute) return {layer.directions, layer.saved_rows(), saved_row(layer)};
  const int64_t checkpoints = (layer.times - 1) / least_steps_per_checkpoint + 1;  // of one step at least
  // As one axis, for graphs of any number of steps: where checkpoints had one, an example with a single checkpoint
  // would make a graph for that number alone.
  const int64_t width = checkpoint_width(layer.cell, layer.hidden_size, c10::elementSize(layer.dtype));
  return {layer.directions, checkpoints * layer.batch * width};
}

const Passes<float>& float_passes(const Layer& layer) {
  return layer.rounds_rows || layer.weight_dtype == at::kBFloat16 ? kernels().of_bfloat16 : kernels().of_float;
}

template <class T>
void run_forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, int64_t first,
                 const Tensor& saved, const Passes<T>& passes) {
  const CallThreads threads(wanted_threads());
  Problem<T> problems[2];
  for (int64_t d = 0; d < layer.directions; ++d) {
    problems[d] = problem_of<T>(layer, d, output, saved, saved_row(layer));
    problems[d].threads = threads.count;
    set_final_states(problems[d], layer, d, hn, cn, first);
  }
  if (layer.directions == 2)
    passes.forward_both(problems[0], problems[1]);
  else
    passes.forward(problems[0]);
}

template <class T>
void run_backward(const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients,
                  const Passes<T>& passes) {
  const CallThreads threads(wanted_threads());
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T> p = problem_of<T>(layer, d, output, saved, saved_row(layer));
    p.threads = threads.count;
    set_gradients(p, layer, d, gradients);
    passes.backward(p);
  }
}

}  // namespace

const Device device = {
    .dtypes = "float32 or float64",
    .serves = [](at::ScalarType dtype) { return dtype == at::kFloat || dtype == at::kDouble; },
    .saved_sizes = saved_sizes,
    .saved_dtype = [](at::ScalarType dtype) { return dtype; },
    .forward = [](const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn,
                  const Tensor& saved) { forward(layer, output, hn, cn, 0, saved); },
    .backward =
        [](const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients) {
          if (layer.dtype == at::kDouble)
            run_backward<double>(layer, output, saved, gradients, kernels().of_double);
          else
            run_backward<float>(layer, output, saved, gradients, float_passes(layer));
          clear_beyond_ends(layer, gradients.input);
        },
    .sums_by_group = true,
    .takes_lengths = true,
};

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) { register_device<device>(m); }

void forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, int64_t first,
             const Tensor& saved) {
  if (layer.batch == 0) return;
  // A segment may be longer than the least (see steps_per_checkpoint): then some checkpoints belong to none.
  if (saved.defined() && layer.recompute) saved.zero_();
  if (layer.dtype == at::kDouble)
    run_forward<double>(layer, output, hn, cn, first, saved, kernels().of_double);
  else
    run_forward<float>(layer, output, hn, cn, first, saved, float_passes(layer));
  clear_beyond_ends(layer, output);
}

}  // namespace fastrnn::cpu
