// What the loops do to whole matrices besides products: copy, convert, multiply, sum. "A" is Accumulated<T>.
#pragma once
#include <cuda_runtime_api.h>

#include "number.h"
#include "resets.h"

namespace fastrnn::cuda {

// Where rows lie: `rows_per_step` of them `row` numbers apart, then the same again `step` numbers further on.
template <class T>
struct Lying {
  T* data;
  int64_t rows_per_step, step, row;

  FASTRNN_DEVICE T* at(int64_t r) const { return data + r / rows_per_step * step + r % rows_per_step * row; }
};

// to = from.
template <class T>
cudaError_t copy_rows(Lying<T> to, Lying<const T> from, int64_t rows, int64_t columns, cudaStream_t stream);

// to = from, `count` numbers of either kind; zeros where `from` is null.
template <class To, class From>
cudaError_t convert(To* to, const From* from, int64_t count, cudaStream_t stream);

// to (rows, columns) = given, which may be `to` itself; `start` (columns), or zeros, in rows that begin anew or where
// nothing is given.
template <class To, class From>
cudaError_t begin_rows(To* to, const From* given, const From* start, Resets resets, int64_t rows, int64_t columns,
                       cudaStream_t stream);

// The rows of d_state (rows, columns) that begin anew are added to `left`, if that is not null, and become zero.
template <class A>
cudaError_t leave_rows(A* d_state, A* left, Resets resets, int64_t columns, cudaStream_t stream);

// to (columns, rows) = the transpose of from (rows, columns), whose elements are `block` numbers side by side.
template <class To, class From>
cudaError_t transpose_blocks(To* to, const From* from, int64_t rows, int64_t columns, int64_t block,
                             cudaStream_t stream);

// to = a ∗ b and to += a ∗ b, `count` numbers.
template <class T>
cudaError_t multiply(T* to, const T* a, const T* b, int64_t count, cudaStream_t stream);
template <class T>
cudaError_t add_multiplied(Accumulated<T>* to, const Accumulated<T>* a, const T* b, int64_t count, cudaStream_t stream);

// sums (columns) = the sums over the rows, or with `add` grow by them. Always in the same order; every thread carries
// along what it rounds off (Kahan 1965), so that the error does not grow with the number of rows.
template <class T>
cudaError_t sum_rows(Accumulated<T>* sums, const T* from, int64_t row, int64_t rows, int64_t columns, bool add,
                     cudaStream_t stream);

}  // namespace fastrnn::cuda
