#include "passes.h"

#include "backward.h"

namespace fastrnn::cuda {

using at::Tensor;

namespace {

// A matrix with a row per (time, batch row) of what is shaped as the layer's input or output.
Tensor rows_of(const Layer& layer, const Tensor& t) {
  if (layer.packed || !t.defined()) return t;
  return (layer.batch_first ? t.transpose(0, 1) : t).reshape({layer.rows, t.size(-1)});
}

// Of the input, as the products take it: the rows of an expanded or unfolded tensor share memory, which cuBLAS refuses.
Tensor input_rows(const Layer& layer) {
  const Tensor rows = rows_of(layer, layer.input);
  return rows.stride(0) < rows.size(1) ? rows.contiguous() : rows;
}

// Somewhere to write such a matrix, and back.
Tensor new_rows(const Layer& layer, const Tensor& t) {
  if (!t.defined() || layer.packed) return t;
  return layer.batch_first ? layer.empty({layer.rows, t.size(-1)}) : t.view({layer.rows, t.size(-1)});
}
void return_rows(const Layer& layer, const Tensor& rows, const Tensor& t) {
  if (t.defined() && layer.batch_first) t.copy_(rows.view({layer.times, layer.batch, -1}).transpose(0, 1));
}

Tensor of_direction(const Tensor& t, int64_t d) { return t.defined() && t.numel() ? t[d] : Tensor(); }

Tensor columns(const Tensor& rows, int64_t d, int64_t count) {
  return rows.defined() ? rows.narrow(1, d * count, count) : rows;
}

}  // namespace

bool serves(at::ScalarType dtype) {
  return dtype == at::kDouble || dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

std::vector<int64_t> saved_sizes(const Layer& layer) {
  const CellDescription& cell = layer.cell;
  if (!layer.recompute)
    return {layer.directions, layer.rows, cell.saves ? (cell.saves + layer.projected) * layer.hidden_size : 0};
  const int64_t steps = steps_per_checkpoint(layer.batch);
  return {layer.directions, (layer.times + steps - 1) / steps, layer.batch, layer.hidden_size};
}

// Not yet: the step kernels read no vectors.
void check_no_vectors(const Layer& layer) {
  TORCH_CHECK_NOT_IMPLEMENTED(!layer.cell.vectors, layer.cell.name, " has no CUDA kernels yet");
}

void forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved,
             cudaStream_t stream) {
  check_no_vectors(layer);
  const Tensor x = input_rows(layer), y = new_rows(layer, output);
  for (int64_t d = 0; d < layer.directions; ++d) {
    const Direction direction(layer, d, x, y, stream);
    Forward loop(direction);
    States states = loop.initial(hn[d]);
    const bool checkpoints = layer.recompute && saved.defined();
    const int64_t steps = checkpoints ? steps_per_checkpoint(layer.batch) : layer.times;
    for (int64_t n = 0; n < direction.pieces(steps); ++n) {
      if (checkpoints) saved[d][n].copy_(states.state);
      loop.run(direction.piece(n, steps), states, direction.y, checkpoints ? Tensor() : of_direction(saved, d), 0);
    }
    if (direction.cell.carries_c) cn[d].copy_(states.state);
  }
  return_rows(layer, y, output);
}

void backward(const Layer& layer, const Tensor& output, const Tensor& saved, const Gradients& gradients,
              cudaStream_t stream) {
  const Tensor x = input_rows(layer), y = rows_of(layer, output), dy = rows_of(layer, gradients.output);
  const Tensor dx = new_rows(layer, gradients.input);
  for (int64_t d = 0; d < layer.directions; ++d) {
    const Direction direction(layer, d, x, y, stream);
    const DirectionWeights& dw = gradients.weights[d];
    DirectionGradients g{};
    g.dy = columns(dy, d, layer.output_size);
    g.dhn = of_direction(gradients.hn, d), g.dcn = of_direction(gradients.cn, d);
    g.dx = dx, g.add_to_dx = d > 0;
    g.dh0 = of_direction(gradients.h0, d), g.dc0 = of_direction(gradients.c0, d);
    g.dw_ih = dw.w_ih, g.dw_hh = dw.w_hh, g.db_ih = dw.b_ih, g.db_hh = dw.b_hh, g.dw_hr = dw.w_hr;
    Backward(direction, g, of_direction(saved, d), layer.recompute).run();
  }
  return_rows(layer, dx, gradients.input);
}

}  // namespace fastrnn::cuda
