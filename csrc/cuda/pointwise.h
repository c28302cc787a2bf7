// What the pointwise kernels are asked to do: one time step's mathematics of a cell, forward and backward, between the
// matrix products. Pointers and sizes only; no torch.
//
// A matrix has one row per active batch row, its features side by side. "T" is as stored, "A" is accumulated (see
// number.h). Where a row's length is not given as `..._row`, rows follow each other without gaps.
#pragma once
#include <cuda_runtime_api.h>
#include <stdint.h>

#include "../sequence/problem.h"
#include "masks.h"
#include "number.h"
#include "resets.h"

namespace fastrnn::cuda {

struct ForwardStep {
  const CellDescription* cell;
  Number number;
  int64_t rows, hidden_size;
  int64_t head_size;       // hidden units of a head: hidden_size where there is one
  const void* from_input;  // A (rows, input_gates * hidden_size): x · W_ihᵀ
  void* from_state;  // A (rows, recurrent_gates * hidden_size): h_{t-1} · W_hhᵀ, by head (place_by_head); gate() leaves
                     // r and z there
  const void* from_gated;             // A (rows, hidden_size): what gate() returned, times the rest of W_hhᵀ
  const void *b_ih, *b_hh;            // T, or null
  const void* vectors[most_vectors];  // T (hidden_size): the cell's own parameters
  void* state;                        // A (rows, hidden_size): c of an LSTM, h of a GRU; in t-1, out t
  void* h;     // T (rows, hidden_size): out h_t, the operand of the next product; in h_{t-1}, unless it is projected
  void* read;  // T (rows, hidden_size): with recurrent dropout the operand in its place, out; else null
  void* y;     // T: out h_t once more, or null
  int64_t y_row;
  void* every_c;  // T: out c_t, or null
  int64_t every_c_row;
  // What rows that begin anew with the next step find in `state` and, not to be projected yet, in `h`: T (hidden_size),
  // null for zeros.
  Resets resets_after;
  const void *start_h, *start_c;
  Masks masks;
  // A: out what backward needs, null at inference: `saves` numbers a unit, h if it is to be projected, and what zoneout
  // hides: c_t, which the cell has not saved then; of a cell that saves nothing its own h.
  void* saved;
  int64_t saved_row;
  bool projected;
  void* gated;  // T (rows, hidden_size): out what the second product multiplies (gate_forward only)
};

struct BackwardStep {
  const CellDescription* cell;
  Number number;
  int64_t rows, hidden_size, head_size, output_size;
  const void* vectors[most_vectors];  // T (hidden_size)
  const void* saved;                  // A, as forward left it
  int64_t saved_row;
  const void* y;  // T: h_t
  int64_t y_row;
  // The first rows_before rows have a step before this one, whose h is y_before; the others take h0, or where that is
  // null start_h, as do those that begin anew with this step. Null: zeros.
  int64_t rows_before;
  Resets resets_before;
  Masks masks;
  const void *start_h, *start_c;  // T (output_size), (hidden_size)
  const void *y_before, *h0;
  // Likewise for c.
  int64_t c_rows_before, c_before_row;
  const void *c_before, *c0;  // A, T
  const void *dy, *devery_c;  // T, or null
  int64_t dy_row, devery_c_row;
  // Rows that begin anew with the step after: their dh and dc are not this step's but the initial state's, and added up
  // in left_h and left_c: A (rows, hidden_size), or null.
  Resets resets_after;
  void *left_h, *left_c;
  void* dh;             // A (rows, output_size): in from the steps after, out what does not pass through W_hh
  const void* dmasked;  // A (rows, output_size): with recurrent dropout what did, to be masked and added; else null
  const void* dunprojected;  // A (rows, hidden_size): takes the place of dy + dh before a projection
  void* dc;                  // A (rows, hidden_size): in dL/dc_t, out dL/dc_{t-1}
  const void* dgated;        // A (rows, hidden_size) (gate_backward only)
  void* d_input;             // T (rows, input_gates * hidden_size): out dL/d(x · W_ihᵀ)
  void* d_recurrent;  // T (rows, recurrent_gates * hidden_size): out dL/d(h · W_hhᵀ), by head; null where it is d_input
  void* d_vectors;    // A (rows, vectors * hidden_size): out what a row adds to their gradients; null: not wanted
  void* h_before;     // T (rows, output_size): out h_{t-1}, from which the gradient of W_hh is made
  void* kept;         // T (rows, hidden_size): out the last thing saved, for the gradient of what multiplied it
  int64_t kept_slot;  // its place among the saved
};

// What follows h = W_hr m.
struct ProjectionStep {
  Number number;
  int64_t rows, output_size;
  const void* projection;  // T (rows, output_size): the product; without zoneout it may be h
  void *h, *read, *y;      // T (rows, output_size), as in ForwardStep
  int64_t y_row;
  Resets resets_after;
  const void* start_h;
  Masks masks;
};

cudaError_t gate_forward(const ForwardStep& step, cudaStream_t stream);
cudaError_t cell_forward(const ForwardStep& step, cudaStream_t stream);
cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream);
cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream);
cudaError_t projection_forward(const ProjectionStep& step, cudaStream_t stream);
// doutput, T (rows, output_size): out dL/d(W_hr m). With masks the rest is left in dh.
cudaError_t projection_backward(const BackwardStep& step, void* doutput, cudaStream_t stream);

}  // namespace fastrnn::cuda
