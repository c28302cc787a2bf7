// The scratch memory of the backward pass.
#pragma once
#include <optional>

#include "forward.h"

namespace fastrnn::cuda {

template <class T>
struct BackwardMemory {
  using A = Accumulated<T>;
  const int64_t steps_per_chunk, rows;  // rows: of a chunk, at most
  const Team team;                      // of the persistent kernel, if that runs
  // Of a step.
  A *dh, *dc = nullptr, *dunprojected = nullptr, *dgated = nullptr;
  A* dmasked = nullptr;  // with recurrent dropout: of h as W_hh reads it
  // Of the pass: of every row what it left to the learned initial state where it began anew, if that is wanted.
  A *left_h = nullptr, *left_c = nullptr;
  // Of a chunk. d_state: by head; null where the gates' gradients are those of the input.
  T *d_input, *d_state = nullptr, *doutput = nullptr, *h_before, *kept = nullptr, *x = nullptr, *dx = nullptr;
  A* d_vectors = nullptr;  // what each row adds to the gradients of the cell's own vectors
  // The weights' gradients, accumulated: where the caller wants them, if that is wide enough.
  A *dw_ih, *dw_hh, *db_ih, *db_hh, *dw_hr, *dvectors[most_vectors] = {}, *dstart_h, *dstart_c;
  T* w_hh = nullptr;  // of several heads, by head, as dw_hh is then, and db_hh but of normalized cells
  void* exchange = nullptr;
  unsigned* flags = nullptr;
  // With recompute: what the forward pass saves of a chunk, and where its loop is.
  std::optional<ForwardMemory<T>> again;
  A *saved = nullptr, *carried = nullptr;
  T* h = nullptr;

  BackwardMemory(const Sequence<T>& sequence, Scratch& scratch);
};

}  // namespace fastrnn::cuda
