// The time loop backward on a GPU: back-propagation through time. A step turns dL/dh_t into dL/d(pre-activations), then
// into dL/dh_{t-1} through W_hh. What needs no order in time waits for the end of a chunk and is one product each:
// dx = dgates · W_ih, dW_ih = dgatesᵀ · x, dW_hh = dgatesᵀ · h_{t-1}.
#pragma once
#include <optional>

#include "forward.h"

namespace fastrnn::cuda {

// Gradients of one direction; undefined: not given (then zero) or not wanted.
struct DirectionGradients {
  at::Tensor dy, dhn, dcn;  // incoming; dy has a row per (time, batch row)
  at::Tensor dx;            // likewise
  bool add_to_dx;           // the other direction has already written its share
  at::Tensor dh0, dc0, dw_ih, dw_hh, db_ih, db_hh, dw_hr;
};

class Backward {
 public:
  // `saved`: what forward saved of every row, or with recompute its checkpoints (piece, batch, hidden_size).
  Backward(const Direction& direction, const DirectionGradients& gradients, const at::Tensor& saved, bool recompute);
  void run();

 private:
  void compute_again(int64_t piece, Range times);
  void run_chunk(Range chunk);
  void step(int64_t t, Range chunk);
  // What both ways of taking steps are told about one, or about the first in memory of a chunk's.
  BackwardStep operands(Range times, Range chunk) const;
  // Before a time: rows of h and of c; undefined where there are none. c is that of every row where it was kept so.
  at::Tensor h_before_time(int64_t t) const;
  at::Tensor c_before_time(int64_t t, Range chunk) const;
  void products_over_time(Range chunk, bool first);
  at::Tensor through_projection(int64_t t, Range chunk, const at::Tensor& dy, const at::Tensor& dh);
  at::Tensor dgates_for_state() const { return d_recurrent.defined() ? d_recurrent : d_input; }

  const Direction& direction;
  const DirectionGradients& gradients;
  const at::Tensor saved;
  const bool recompute;
  const int64_t steps_per_chunk;
  const Team team;  // of the persistent kernel, if that runs
  std::optional<Forward> again;
  at::Tensor chunk_saved, chunk_state;  // of the chunk at hand: what forward saved, and the state before its first step
  at::Tensor dh, dc, dunprojected, dgated;                   // of a step
  at::Tensor d_input, d_recurrent, doutput, h_before, kept;  // of a chunk
  at::Tensor sum_ih, sum_hh, sum_b_ih, sum_b_hh, sum_hr;     // the weights' gradients, accumulated
};

}  // namespace fastrnn::cuda
