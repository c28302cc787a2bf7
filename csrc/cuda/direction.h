// One direction of a layer as matrices: what the loops over time have in common.
//
// All of x, y and their gradients are matrices with a row per (time, batch row), a time's rows after those of the time
// before: packed input lies like this anyway, padded input does once time comes first.
#pragma once
#include <cuda_runtime_api.h>

#include "../torch/layer.h"
#include "persistent.h"

namespace fastrnn::cuda {

at::ScalarType accumulated(at::ScalarType dtype);

// Throws the error of a launch, if it is one.
void check(cudaError_t error);

// The kernels that FASTRNN_CUDA_KERNEL asks for, if they serve padded layers of this kind without a projection.
Regime regime_for(const CellDescription& cell, at::ScalarType dtype);

// What will run such a layer on the current device: a team's blocks, rows of the batch and bytes of shared memory a
// block; nothing where it goes step by step.
constexpr const char* team_schema =
    "cuda_team(str cell, ScalarType dtype, int hidden_size, int batch, bool backward) -> int[]";
std::vector<int64_t> team_for(c10::string_view cell, at::ScalarType dtype, int64_t hidden_size, int64_t batch,
                              bool backward);

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

struct Direction {
  const Layer& layer;
  const int64_t index;
  const CellDescription& cell;
  const int64_t hidden_size, output_size;
  const Number number;
  const at::ScalarType accumulated;
  const cudaStream_t stream;
  at::Tensor x, y;                                      // y: the columns of this direction
  at::Tensor w_ih, w_hh, w_hh_gated, b_ih, b_hh, w_hr;  // undefined where there is none
  at::Tensor h0, c0;

  Direction(const Layer& layer, int64_t index, const at::Tensor& x, const at::Tensor& y, cudaStream_t stream);

  bool reverse() const { return index == 1; }
  bool projected() const { return layer.projected; }
  // Numbers of a row of what forward saves; without a projection the last thing is what W_hh's second product
  // multiplies.
  int64_t saved_row() const { return (cell.saves + projected()) * hidden_size; }
  int64_t kept_slot() const { return cell.saves - 1 + projected(); }

  // The i-th time of a range in the direction of the loop, and the time before one, which may not exist.
  int64_t time(Range times, int64_t i) const { return reverse() ? times.end - 1 - i : times.begin + i; }
  int64_t previous(int64_t t) const { return reverse() ? t + 1 : t - 1; }
  // What FASTRNN_CUDA_KERNEL asks for, if the persistent kernels serve this layer.
  Regime regime() const;
  // How many rows of time t have a step before it. Rows are sorted by length, so they are the first ones.
  int64_t rows_before(int64_t t) const;
  int64_t rows(Range times) const { return layer.before[times.end] - layer.before[times.begin]; }
  // Piece n of all times cut into pieces, again in the direction of the loop.
  Range piece(int64_t n, int64_t steps) const;
  int64_t pieces(int64_t steps) const { return (layer.times + steps - 1) / steps; }

  // Of a matrix whose first row is that of time `first`: the rows of time t, the rows of a range of times.
  at::Tensor at(const at::Tensor& rows, int64_t t, int64_t first = 0) const;
  at::Tensor at(const at::Tensor& rows, Range times, int64_t first = 0) const;

  at::Tensor empty(at::IntArrayRef sizes) const { return layer.empty(sizes); }
  at::Tensor empty_accumulated(at::IntArrayRef sizes) const { return layer.empty(sizes, accumulated); }
  // A new tensor with the values of a state, zeros if that is undefined.
  at::Tensor copy(const at::Tensor& state, at::IntArrayRef sizes, at::ScalarType dtype) const;
};

// Where blocks that share no memory tell each other, for one run of a persistent kernel.
struct Exchange {
  at::Tensor memory, flags;
  Exchange(const Direction& direction, const Team& team);
};

// Steps that a checkpoint stands for with recompute: at least 8, and rows enough for full products.
int64_t steps_per_checkpoint(int64_t batch);

}  // namespace fastrnn::cuda
