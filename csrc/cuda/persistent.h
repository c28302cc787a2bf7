// Whole sequences in one kernel: the recurrent weights stay on the chip. A team of blocks, one block or a cluster,
// takes some rows of the batch through all times. Each block keeps the weights of its hidden units in shared memory; at
// every step the blocks write what they have computed into each other's shared memory and meet.
//
// For cells with one product a step, 16-bit numbers, padded input, no projection; the loops of step by step do the
// rest.
#pragma once
#include <stddef.h>

#include "pointwise.h"

namespace fastrnn::cuda {

// How a layer is laid out on the chip.
struct Team {
  int blocks = 0;  // of a team; 0: it does not fit
  int units;       // hidden units of a block, a multiple of 16
  int row;     // numbers of a row of weights in shared memory: hidden_size, rounded up, and padding against conflicts
  int rows;    // of the batch, a multiple of 8
  int splits;  // into which a product's depth is split, so that all warps have work (forward)
  size_t shared;  // bytes
};

struct ForwardSequence {
  ForwardStep step;  // of the first time in memory
  int64_t times, batch;
  bool reverse;
  const void* w_hh;  // T (recurrent_gates * hidden_size, hidden_size)
  Team team;
};

struct BackwardSequence {
  BackwardStep step;  // of the first time in memory, but for what came before
  int64_t times, batch;
  bool reverse;
  const void* w_hh;
  // Before the first step of the loop forward: T (batch, y_row), A (batch, c_row). Null: h0 and c0.
  const void *y_before, *c_before;
  int64_t c_before_row;
  Team team;
};

// Which kernels may run: those that take steps, or these with so many blocks in a team.
struct Regime {
  int least_blocks, most_blocks;  // 0: step by step
};
constexpr Regime step_by_step{0, 0}, one_block{1, 1}, block_cluster{2, 16};

// The smallest team on the current device.
Team forward_team(CellKind cell, Number number, int64_t hidden_size, int64_t batch, Regime regime);
Team backward_team(CellKind cell, Number number, int64_t hidden_size, int64_t batch, Regime regime);

cudaError_t forward_sequence(const ForwardSequence& sequence, cudaStream_t stream);
cudaError_t backward_sequence(const BackwardSequence& sequence, cudaStream_t stream);

}  // namespace fastrnn::cuda
