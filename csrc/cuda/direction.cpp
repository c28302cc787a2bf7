#include "direction.h"

#include <ATen/Context.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "../cells/cells.h"

namespace fastrnn::cuda {

using at::Tensor;

CellShape shape_of(CellKind cell) {
  return for_cell(cell, []<class Cell>() {
    bool same = true;
    for (int g = 0; g < Cell::recurrent_gates; ++g) same &= Cell::input_slots[g] == Cell::recurrent_slots[g];
    return CellShape{Cell::input_gates,
                     Cell::recurrent_gates,
                     Cell::saves,
                     Cell::gated,
                     Cell::carries_c,
                     Cell::carries_c || Cell::reads_h,
                     !same};
  });
}

at::ScalarType accumulated(at::ScalarType dtype) { return dtype == at::kDouble ? at::kDouble : at::kFloat; }

void check(cudaError_t error) {
  TORCH_CHECK(error == cudaSuccess, "fastrnn's CUDA kernel was not started: ", cudaGetErrorString(error));
}

namespace {

Number number_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return Number::float64;
    case at::kFloat:
      return Number::float32;
    case at::kBFloat16:
      return Number::bfloat16;
    default:
      return Number::float16;
  }
}

}  // namespace

Direction::Direction(const Layer& layer, int64_t index, const Tensor& x, const Tensor& y, cudaStream_t stream)
    : layer(layer), index(index), shape(shape_of(layer.cell)), hidden_size(layer.hidden_size),
      output_size(layer.output_size), number(number_of(layer.dtype)), accumulated(cuda::accumulated(layer.dtype)),
      stream(stream), x(x), y(y.narrow(1, index * output_size, output_size)), w_ih(layer.weight(index, 0)) {
  const Tensor& recurrent = layer.weight(index, 1);
  w_hh = recurrent.narrow(0, 0, shape.recurrent_gates * hidden_size);
  if (shape.gated) w_hh_gated = recurrent.narrow(0, shape.recurrent_gates * hidden_size, hidden_size);
  if (layer.biases) b_ih = layer.weight(index, 2), b_hh = layer.weight(index, 3);
  if (projected()) w_hr = layer.weight(index, layer.per_direction - 1);
  if (layer.h0) h0 = (*layer.h0)[index];
  if (layer.c0) c0 = (*layer.c0)[index];
}

// The default is what has been measured: so far nothing but the steps.
Regime Direction::regime() const {
  const char* given = std::getenv("FASTRNN_CUDA_KERNEL");
  const std::string name = given ? given : "step";
  const Regime regime = name == "block"     ? one_block
                        : name == "cluster" ? block_cluster
                        : name == "grid"    ? whole_grid
                                            : step_by_step;
  TORCH_CHECK_VALUE(regime.most_blocks || name == "step",
                    "FASTRNN_CUDA_KERNEL must be step, block, cluster or grid, got ", name);
  const bool tf32 = number != Number::float32 || at::globalContext().allowTF32CuDNN(at::Float32Op::RNN);
  return layer.packed || projected() || shape.gated || !tf32 ? step_by_step : regime;
}

Exchange::Exchange(const Direction& d, const Team& team) {
  if (!team.exchanged) return;
  memory = d.layer.empty({int64_t(team.exchanged)}, at::kByte), flags = d.layer.empty({team.flags}, at::kInt).zero_();
}

int64_t Direction::rows_before(int64_t t) const {
  const int64_t before = previous(t);
  return before < 0 || before >= layer.times ? 0 : std::min(layer.active[t], layer.active[before]);
}

Range Direction::piece(int64_t n, int64_t steps) const {
  if (reverse()) n = pieces(steps) - 1 - n;
  return {n * steps, std::min((n + 1) * steps, layer.times)};
}

Tensor Direction::at(const Tensor& rows, int64_t t, int64_t first) const { return at(rows, Range{t, t + 1}, first); }

Tensor Direction::at(const Tensor& rows, Range times, int64_t first) const {
  return rows.narrow(0, layer.before[times.begin] - layer.before[first], this->rows(times));
}

Tensor Direction::copy(const Tensor& state, at::IntArrayRef sizes, at::ScalarType dtype) const {
  Tensor result = layer.empty(sizes, dtype);
  return state.defined() ? result.copy_(state) : result.zero_();
}

int64_t steps_per_checkpoint(int64_t batch) {
  constexpr int64_t least_steps = 8, enough_rows = 2048;
  return std::max(least_steps, (enough_rows + batch - 1) / std::max<int64_t>(1, batch));
}

}  // namespace fastrnn::cuda
