#include "cuda.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include "../cuda/passes.h"

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
      TORCH_CHECK(false, "Expected dtype ", device.dtypes, ", got ", dtype);
  }
}

int64_t row_saved(const Layer& layer) { return saved_row(layer.cell, layer.hidden_size, layer.projected); }

std::vector<int64_t> saved_sizes(const Layer& layer) {
  if (!layer.recompute) return {layer.directions, layer.rows, row_saved(layer)};
  const int64_t steps = steps_per_checkpoint(layer.batch);
  return {layer.directions, (layer.times + steps - 1) / steps, layer.batch, layer.hidden_size};
}

// Number `offset` of a tensor, null if that is undefined. Asked for as const even where it is written: an output that
// autograd.cpp shares with the user must not be copied because it is read here. What is written is always new.
void* pointer(const Tensor& t, int64_t offset = 0) {
  if (!t.defined()) return nullptr;
  return static_cast<char*>(const_cast<void*>(t.const_data_ptr())) + offset * int64_t(t.itemsize());
}

// The rows of a tensor shaped as the layer's input or output, from a column on.
Rows<void> rows_of(const Layer& layer, const Tensor& t, int64_t column = 0) {
  if (!t.defined()) return {};
  if (layer.packed) return {pointer(t, column), 0, t.stride(0), t.stride(0)};
  return {pointer(t, column), t.stride(layer.batch_first ? 1 : 0), 0, t.stride(layer.batch_first ? 0 : 1)};
}
Rows<const void> const_rows_of(const Layer& layer, const Tensor& t, int64_t column = 0) {
  const Rows<void> rows = rows_of(layer, t, column);
  return {rows.data, rows.step, rows.packed, rows.row};
}

// What forward and backward ask of the kernels alike.
Problem<void> problem(const Layer& layer, int64_t d, const Tensor& output, const Tensor& saved) {
  Problem<void> p{};
  p.cell = &layer.cell, p.reverse = d == 1, p.times = layer.times, p.batch = layer.batch;
  p.input_size = layer.input_size, p.hidden_size = layer.hidden_size;
  p.projection_size = layer.projected ? layer.output_size : 0;
  p.active = layer.active.data(), p.before = layer.before.data();
  auto weight = [](const Tensor& t) { return Weights<void>{pointer(t)}; };
  const DirectionWeights& w = layer.weights[d];
  p.w_ih = weight(w.w_ih), p.w_hh = weight(w.w_hh), p.b_ih = weight(w.b_ih), p.b_hh = weight(w.b_hh);
  p.w_hr = weight(w.w_hr);
  for (int k = 0; k < layer.cell.vectors; ++k) p.vectors[k] = weight(w.vectors[k]);
  if (layer.h0) p.h0 = pointer(*layer.h0, d * layer.batch * layer.output_size);
  if (layer.c0) p.c0 = pointer(*layer.c0, d * layer.batch * layer.hidden_size);
  p.x = const_rows_of(layer, layer.input), p.y = rows_of(layer, output, d * layer.output_size);
  p.recompute = layer.recompute;
  if (!saved.defined() || !saved.numel()) return p;
  void* const of_direction = pointer(saved, d * saved.stride(0));
  if (p.recompute)
    p.checkpoints = of_direction;
  else
    p.saved = {of_direction, 0, row_saved(layer), row_saved(layer)};
  return p;
}

// Runs the directions one after the other, on the device of the layer and the current stream there, with the same
// scratch memory: one piece for a whole pass.
void run(const Layer& layer, const std::vector<Problem<void>>& directions,
         size_t (*bytes)(const Problem<void>&, Precision),
         void (*pass)(const Problem<void>&, Precision, const Resources&)) {
  const c10::cuda::CUDAGuard guard(layer.device);
  const Precision precision = precision_of(layer.dtype);
  size_t most = 0;
  for (const Problem<void>& p : directions) most = std::max(most, bytes(p, precision));
  const Tensor scratch = layer.empty({int64_t(most)}, at::kByte);
  const Resources resources{at::cuda::getCurrentCUDABlasHandle(), at::cuda::getCurrentCUDAStream(),
                            scratch.mutable_data_ptr()};
  for (const Problem<void>& p : directions) pass(p, precision, resources);
}

void run_forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved) {
  std::vector<Problem<void>> directions;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<void>& p = directions.emplace_back(problem(layer, d, output, saved));
    p.hn = pointer(hn, d * layer.batch * layer.output_size);
    if (cn.defined()) p.cn = pointer(cn, d * layer.batch * layer.hidden_size);
  }
  run(layer, directions, forward_bytes, forward);
}

void run_backward(const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients) {
  std::vector<Problem<void>> directions;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<void>& p = directions.emplace_back(problem(layer, d, output, saved));
    const int64_t of_h = d * layer.batch * layer.output_size, of_c = d * layer.batch * layer.hidden_size;
    p.dy = const_rows_of(layer, gradients.output, d * layer.output_size);
    p.dhn = pointer(gradients.hn, of_h), p.dcn = pointer(gradients.cn, of_c);
    p.dx = rows_of(layer, gradients.input), p.add_to_dx = d > 0;
    p.dh0 = pointer(gradients.h0, of_h), p.dc0 = pointer(gradients.c0, of_c);
    const DirectionWeights& dw = gradients.weights[d];
    p.dw_ih = pointer(dw.w_ih), p.dw_hh = pointer(dw.w_hh), p.dw_hr = pointer(dw.w_hr);
    p.db_ih = pointer(dw.b_ih), p.db_hh = pointer(dw.b_hh);
    for (int k = 0; k < layer.cell.vectors; ++k) p.dvectors[k] = pointer(dw.vectors[k]);
  }
  run(layer, directions, backward_bytes, backward);
}

}  // namespace

const fastrnn::Device device = {
    "float64, float32, bfloat16 or float16", serves, saved_sizes, accumulated, run_forward, run_backward};

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
