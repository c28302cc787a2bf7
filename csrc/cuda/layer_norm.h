// Cells with layer normalization (../cells/layer_norm.h) on a GPU: what runs between the products in place of the
// pointwise kernels. The steps' kernels take the arguments of those, and read them otherwise:
//
//   from_input    normalized, in place; where it is saved, it is read there
//   from_state    the row is overwritten
//   d_vectors     A (rows, layer_norm_gradients()): out what the row adds to the gradients of biases and of b_c; those
//                 of gains follow from it and what is saved
//   d_input, d_recurrent    gradients of the two products, before they are normalized
//
// A row of what is saved, a number for each unit: the products normalized, c normalized, what the plain cell saves, c
// last, and what zoneout hides (see ForwardStep::saved). 1/σ of W_ih x, of W_hh h and of c follow, and a zero.
#pragma once
#include "pointwise.h"

namespace fastrnn::cuda {

constexpr int64_t deviations_saved = 4;

int64_t layer_norm_gradients(const CellDescription& cell, int64_t hidden_size);

// W_ih x of all times of a chunk: A (rows, input_gates * hidden_size), in place at inference, else to `saved`.
cudaError_t normalize_input(const CellDescription& cell, Number number, void* products, int64_t rows,
                            int64_t hidden_size, void* saved, int64_t saved_row, cudaStream_t stream);

cudaError_t layer_norm_forward(const ForwardStep& step, cudaStream_t stream);
cudaError_t layer_norm_backward(const BackwardStep& step, cudaStream_t stream);

// Sums over the rows of a chunk, in the order of sum_rows.
struct LayerNormSums {
  const CellDescription* cell;
  Number number;
  int64_t rows, hidden_size, saved_row;
  const void *d_vectors, *saved;                 // A
  void *db_ih, *db_hh, *dvectors[most_vectors];  // A: out the sums; null: not wanted
  bool add;                                      // to what is there
};
cudaError_t layer_norm_sums(const LayerNormSums& sums, cudaStream_t stream);

}  // namespace fastrnn::cuda
