// The time loop forward on a GPU. For each chunk of time x · W_ihᵀ for all its rows in one product; then step by step
// h_{t-1} · W_hhᵀ and the cell, in one pointwise kernel; or all steps in one persistent kernel.
#pragma once
#include "direction.h"
#include "persistent.h"

namespace fastrnn::cuda {

// Where one direction's loop begins and what it leaves.
struct States {
  at::Tensor h;      // (batch, output_size), as stored: in the first h_{t-1} of every row, out its last h_t
  at::Tensor state;  // (batch, hidden_size), accumulated: c of an LSTM, h of a GRU; undefined for others
};

class Forward {
 public:
  explicit Forward(const Direction& direction);

  // Where the loop begins at the first time of all.
  States initial(const at::Tensor& h) const;

  // Runs the times of a range. y and saved may be undefined; saved's first row is that of time `first_saved`.
  void run(Range times, States& states, const at::Tensor& y, const at::Tensor& saved, int64_t first_saved);

 private:
  void run_chunk(Range chunk, States& states, const at::Tensor& x_products, const at::Tensor& y,
                 const at::Tensor& saved);
  void step(int64_t t, States& states, const at::Tensor& x_product, const at::Tensor& y, const at::Tensor& saved);

  // What both ways of taking steps are told about one, or about the first.
  ForwardStep operands(const States& states, const at::Tensor& x_products, const at::Tensor& y,
                       const at::Tensor& saved) const;

  const Direction& direction;
  const int64_t steps_per_chunk;
  const Team team;                                                    // of the persistent kernel, if that runs
  at::Tensor from_input, from_state, from_gated, gated, unprojected;  // scratch
};

}  // namespace fastrnn::cuda
