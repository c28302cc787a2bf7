#include "direction.h"

#include <ATen/Context.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "../cells/registry.h"

namespace fastrnn::cuda {

using at::Tensor;

at::ScalarType accumulated(at::ScalarType dtype) { return dtype == at::kDouble ? at::kDouble : at::kFloat; }

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears it: torch would report it once more, at some later kernel of its own
  TORCH_CHECK(false, "fastrnn's CUDA kernel launch failed: ", cudaGetErrorString(error),
              ". Without FASTRNN_CUDA_KERNEL torch's own operator runs instead");
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
    : layer(layer), index(index), cell(layer.cell), hidden_size(layer.hidden_size), output_size(layer.output_size),
      number(number_of(layer.dtype)), accumulated(cuda::accumulated(layer.dtype)), stream(stream), x(x),
      y(y.narrow(1, index * output_size, output_size)), w_ih(layer.weights[index].w_ih),
      b_ih(layer.weights[index].b_ih), b_hh(layer.weights[index].b_hh), w_hr(layer.weights[index].w_hr) {
  const Tensor& recurrent = layer.weights[index].w_hh;
  w_hh = recurrent.narrow(0, 0, cell.recurrent_gates * hidden_size);
  if (cell.gated) w_hh_gated = recurrent.narrow(0, cell.recurrent_gates * hidden_size, hidden_size);
  if (layer.h0) h0 = (*layer.h0)[index];
  if (layer.c0) c0 = (*layer.c0)[index];
}

namespace {

// FASTRNN_CUDA_KERNEL: step, block, cluster or grid; "cluster:4" and "grid:4" ask for teams of four blocks. Unset it is
// step: nothing else has been measured.
Regime asked_for() {
  const char* given = std::getenv("FASTRNN_CUDA_KERNEL");
  const std::string_view text = given && *given ? given : "step", name = text.substr(0, text.find(':'));
  Regime regime = name == "block" ? one_block : name == "cluster" ? block_cluster : whole_grid;
  bool known = name == "block" || name == "cluster" || name == "grid";
  if (known && name.size() < text.size()) {
    int blocks = 0;
    const auto [end, error] = std::from_chars(text.data() + name.size() + 1, text.data() + text.size(), blocks);
    known = error == std::errc() && end == text.data() + text.size() && blocks >= regime.least_blocks &&
            blocks <= regime.most_blocks;
    regime.least_blocks = regime.most_blocks = blocks;
  }
  TORCH_CHECK_VALUE(known || text == "step",
                    "FASTRNN_CUDA_KERNEL must be step, block, cluster or grid, or with the "
                    "blocks of a team cluster:2 to cluster:16 or grid:1 and more, got ",
                    text);
  return known ? regime : step_by_step;
}

}  // namespace

Regime regime_for(const CellDescription& cell, at::ScalarType dtype) {
  const bool tf32 = at::globalContext().allowTF32CuDNN(at::Float32Op::RNN);
  const Regime regime = asked_for();
  const bool served = dtype == at::kHalf || dtype == at::kBFloat16 || (dtype == at::kFloat && tf32);
  return served && !cell.gated ? regime : step_by_step;
}

Regime Direction::regime() const {
  const Regime regime = regime_for(layer.cell, layer.dtype);
  return layer.packed || projected() ? step_by_step : regime;
}

std::vector<int64_t> team_for(c10::string_view cell, at::ScalarType dtype, int64_t hidden_size, int64_t batch,
                              bool backward) {
  TORCH_CHECK_VALUE(hidden_size > 0 && batch > 0, "Expected sizes greater than zero, got hidden_size ", hidden_size,
                    " and batch ", batch);
  const CellDescription& described = cell_named(cell);
  const Team team = (backward ? backward_team : forward_team)(described, number_of(dtype), hidden_size, batch,
                                                              regime_for(described, dtype));
  if (!team.blocks) return {};
  return {team.blocks, team.rows, int64_t(team.shared)};
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
