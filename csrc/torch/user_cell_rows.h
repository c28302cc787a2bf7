// Where the rows of a sequence lie for the loop of a user's cell: all times one after the other, longest row first.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "arguments.h"

namespace fastrnn {

struct UserCellRows {
  int64_t times = 0, batch = 0;
  int64_t count = 0;                    // N: rows of all times together
  bool packed = false, ragged = false;  // ragged: rows of padded input that have ended are among the N
  // Row b of time t is row first[t] + b of N; rows 0 … active[t] - 1 are active.
  std::vector<int64_t> first, active;
  at::Tensor order, back;  // of the batch, longest first, and its inverse; undefined where rows lie in that order

  // Throws where sizes or numbers do not fit.
  UserCellRows(const at::Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& lengths);

  // Whether any row has a step: of nothing the sums of a gradient are not written.
  bool has_steps() const { return active.front() > 0; }

  // Between what the caller has, (T, B, F) or (N, F), and N rows (N, F).
  at::Tensor to_rows(const at::Tensor& t) const;
  at::Tensor from_rows(const at::Tensor& t) const;
  // Between states (D, B, H) in the caller's order and in that of the rows.
  at::Tensor to_order(const at::Tensor& states) const {
    return order.defined() ? states.index_select(1, order) : states;
  }
  at::Tensor from_order(const at::Tensor& states) const {
    return back.defined() ? states.index_select(1, back) : states;
  }

 private:
  void read_batch_sizes(const at::Tensor& sizes);
  void read_lengths(const at::Tensor& lengths);
};

}  // namespace fastrnn
