// Whole sequences in one kernel: the recurrent weights stay on the chip. A team of blocks takes some rows of the batch
// through all times. Each block keeps the weights of its hidden units in shared memory; at every step the blocks tell
// each other what they have computed and wait for each other (see blocks.h).
//
// For cells with one product a step, 16-bit numbers or TF32, padded input, no projection; the rest goes step by step.
#pragma once
#include <stddef.h>

#include "pointwise.h"

namespace fastrnn::cuda {

// How a layer is laid out on the chip.
struct Team {
  int blocks = 0;        // of a team; 0: it does not fit
  int units;             // hidden units of a block, a multiple of 16
  int row;               // numbers of a row of weights in shared memory: hidden_size rounded up, and padding
  int rows;              // of the batch, a multiple of 8
  int splits;            // into which a product's depth is split, so that all warps have work (forward)
  size_t shared;         // bytes of a block's shared memory
  size_t exchanged = 0;  // bytes of global memory, through which blocks that share none tell each other
  int64_t flags = 0;     // how many of their flags
};

struct ForwardSequence {
  ForwardStep step;  // of the first time in memory
  int64_t times, batch;
  int64_t y_step;  // numbers of y from a time to the next
  bool reverse;
  const void* w_hh;  // T (recurrent_gates * hidden_size, hidden_size)
  Team team;
  void* exchange;   // of the team's sizes, if any
  unsigned* flags;  // zeros
};

struct BackwardSequence {
  BackwardStep step;  // of the first time in memory, except what came before
  int64_t times, batch;
  int64_t y_step, dy_step;  // numbers from a time to the next
  bool reverse;
  const void* w_hh;
  // Before the first step of the loop forward: T (batch, y_row), A (batch, c_row). Null: h0 and c0.
  const void *y_before, *c_before;
  int64_t c_before_row;
  Team team;
  void* exchange;   // of the team's sizes, if any
  unsigned* flags;  // zeros
};

// Which kernels may run: those that take steps, or these with so many blocks in a team.
struct Regime {
  int least_blocks, most_blocks;  // 0: step by step
  bool grid = false;              // the blocks share no memory; they are not a cluster
  bool fastest = false;           // clusters that all run at once, else a grid
  bool operator==(const Regime&) const = default;
};
constexpr Regime step_by_step{0, 0}, one_block{1, 1}, block_cluster{2, 16}, whole_grid{1, 1 << 20, true},
    what_is_fastest{2, 16, false, true};

// The team that takes a layer through its steps on the current device; none where no team fits.
Team forward_team(const CellDescription& cell, Number number, int64_t hidden_size, int64_t batch, Regime regime);
Team backward_team(const CellDescription& cell, Number number, int64_t hidden_size, int64_t batch, Regime regime);

cudaError_t forward_sequence(const ForwardSequence& sequence, cudaStream_t stream);
cudaError_t backward_sequence(const BackwardSequence& sequence, cudaStream_t stream);

}  // namespace fastrnn::cuda
