#include "cuda.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

#include "../cuda/passes.h"
#include "problem.h"

namespace fastrnn::cuda {

using at::Tensor;

namespace {

bool serves(at::ScalarType dtype) {
  return dtype == at::kDouble || dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

at::ScalarType accumulated(at::ScalarType dtype) { return dtype == at::kDouble ? at::kDouble : at::kFloat; }

// float32 is TF32 where torch.backends.cudnn.rnn allows it: the switch of the operators that these take the place of.
Precision precision_of(at::ScalarType dtype) {
  const bool tf32 = at::globalContext().allowTF32CuDNN(at::Float32Op::RNN);
  switch (dtype) {
    case at::kDouble:
      return {Number::float64, tf32};
    case at::kFloat:
      return {Number::float32, tf32};
    case at::kBFloat16:
      return {Number::bfloat16, tf32};
    case at::kHalf:
      return {Number::float16, tf32};
    default:
      TORCH_CHECK(false, "Expected input of dtype ", device.dtypes, ", got ", name_of(dtype));
  }
}

int64_t row_saved(const Layer& layer) {
  return saved_row(layer.cell, layer.hidden_size,
                   {layer.projected, layer.zoneout_h.defined(), layer.zoneout_c.defined()});
}

std::vector<int64_t> saved_sizes(const Layer& layer) {
  if (!layer.recompute) return {layer.directions, layer.saved_rows(), row_saved(layer)};
  const int64_t steps = steps_per_checkpoint(layer.batch);
  return {layer.directions, (layer.times + steps - 1) / steps * layer.batch * layer.hidden_size};  // as on the CPU
}

// A thread of autograd's may have no context yet: this makes the device's current, which a guard leaves undone where
// the device already is, and torch would warn when it takes the handle of cuBLAS. Once in a thread, because it is an
// error while a stream is captured.
void make_context(c10::Device device) {
  thread_local bool made = false;
  if (made) return;
  C10_CUDA_CHECK(cudaSetDevice(device.index()));
  made = true;
}

// Runs the directions one after the other, on the device of the layer and the current stream there, with the same
// scratch memory: one piece for a whole pass.
void run(const Layer& layer, const std::vector<Problem<void>>& directions,
         size_t (*bytes)(const Problem<void>&, Precision),
         void (*pass)(const Problem<void>&, Precision, const Resources&)) {
  const c10::cuda::CUDAGuard guard(layer.device);
  make_context(layer.device);
  const Precision precision = precision_of(layer.dtype);
  size_t most = 0;
  for (const Problem<void>& p : directions) most = std::max(most, bytes(p, precision));
  const Tensor scratch = layer.empty({int64_t(most)}, at::kByte);
  const Resources resources{at::cuda::getCurrentCUDABlasHandle(), at::cuda::getCurrentCUDAStream(),
                            scratch.mutable_data_ptr()};
  for (const Problem<void>& p : directions) pass(p, precision, resources);
}

Problem<void> problem(const Layer& layer, int64_t d, const Tensor& output, const Tensor& saved) {
  Problem<void> p = problem_of<void>(layer, d, output, saved, row_saved(layer));
  p.device_resets = rows_of<const uint8_t>(layer, layer.given_resets);
  return p;
}

void run_forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved) {
  std::vector<Problem<void>> directions;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<void>& p = directions.emplace_back(problem(layer, d, output, saved));
    set_final_states(p, layer, d, hn, cn);
  }
  run(layer, directions, forward_bytes, forward);
}

void run_backward(const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients) {
  std::vector<Problem<void>> directions;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<void>& p = directions.emplace_back(problem(layer, d, output, saved));
    set_gradients(p, layer, d, gradients);
  }
  run(layer, directions, backward_bytes, backward);
}

}  // namespace

const fastrnn::Device device = {
    .dtypes = "float64, float32, bfloat16 or float16",
    .serves = serves,
    .saved_sizes = saved_sizes,
    .saved_dtype = accumulated,
    .forward = run_forward,
    .backward = run_backward,
};

std::vector<int64_t> team_for(c10::string_view cell, at::ScalarType dtype, int64_t hidden_size, int64_t batch,
                              bool backward) {
  TORCH_CHECK_VALUE(hidden_size > 0 && batch > 0, "Expected sizes greater than zero, got hidden_size ", hidden_size,
                    " and batch ", batch);
  const CellDescription& described = cell_named(cell);
  const Precision precision = precision_of(dtype);
  const Team team = (backward ? backward_team : forward_team)(described, precision.number, hidden_size, batch,
                                                              regime_for(described, precision));
  if (!team.blocks) return {};
  return {team.blocks, team.rows, int64_t(team.shared)};
}

}  // namespace fastrnn::cuda
