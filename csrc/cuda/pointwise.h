// What the pointwise kernels are asked to do: one time step's mathematics of a cell, forward and backward, between the
// matrix products. Pointers and sizes only; no torch.
//
// A matrix has one row per active batch row, its features side by side. "T" is as stored, "A" is accumulated (see
// number.h). Where a row's length is not given as `..._row`, rows follow each other without gaps.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#include "../sequence/problem.h"
#include "number.h"

namespace fastrnn::cuda {

struct ForwardStep {
  const CellDescription* cell;
  Number number;
  int64_t rows, hidden_size;
  const void* from_input;   // A (rows, input_gates * hidden_size): x · W_ihᵀ
  void* from_state;         // A (rows, recurrent_gates * hidden_size): h_{t-1} · W_hhᵀ; gate() leaves r and z in it
  const void* from_gated;   // A (rows, hidden_size): what gate() returned, times the rest of W_hhᵀ
  const void *b_ih, *b_hh;  // T, or null
  const void* vectors[most_vectors];  // T (hidden_size): the cell's own parameters
  void* state;                        // A (rows, hidden_size): c of an LSTM, h of a GRU; in t-1, out t
  void* h;                            // T (rows, hidden_size): out h_t, the operand of the next product
  void* y;                            // T: out h_t once more, or null
  int64_t y_row;
  void* saved;  // A: out what backward needs, `saves` numbers a unit; null at inference
  int64_t saved_row;
  bool saves_h;  // and one more: h_t, unprojected
  void* gated;   // T (rows, hidden_size): out what the second product multiplies (gate_forward only)
};

struct BackwardStep {
  const CellDescription* cell;
  Number number;
  int64_t rows, hidden_size, output_size;
  const void* vectors[most_vectors];  // T (hidden_size)
  const void* saved;                  // A, as forward left it
  int64_t saved_row;
  const void* y;  // T: h_t
  int64_t y_row;
  // The first rows_before rows have a step before this one, whose h is y_before; the others take h0, null for zeros.
  int64_t rows_before;
  const void *y_before, *h0;
  // Likewise for c.
  int64_t c_rows_before, c_before_row;
  const void *c_before, *c0;  // A, T
  const void* dy;             // T, or null
  int64_t dy_row;
  void* dh;                  // A (rows, output_size): in from the steps after, out what does not pass through W_hh
  const void* dunprojected;  // A (rows, hidden_size): takes the place of dy + dh before a projection
  void* dc;                  // A (rows, hidden_size): in dL/dc_t, out dL/dc_{t-1}
  const void* dgated;        // A (rows, hidden_size) (gate_backward only)
  void* d_input;             // T (rows, input_gates * hidden_size): out dL/d(x · W_ihᵀ)
  void* d_recurrent;         // T (rows, recurrent_gates * hidden_size): out dL/d(h · W_hhᵀ), null where it is the same
  void* d_vectors;    // A (rows, vectors * hidden_size): out what a row adds to their gradients; null: not wanted
  void* h_before;     // T (rows, output_size): out h_{t-1}, from which the gradient of W_hh is made
  void* kept;         // T (rows, hidden_size): out the last thing saved, for the gradient of what multiplied it
  int64_t kept_slot;  // its place among the saved
};

cudaError_t gate_forward(const ForwardStep& step, cudaStream_t stream);
cudaError_t cell_forward(const ForwardStep& step, cudaStream_t stream);
cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream);
cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream);

}  // namespace fastrnn::cuda
