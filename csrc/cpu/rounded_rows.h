// Rows as products read them, where that is not as everything else does: rounded, in factors (see factors.h). Elsewhere
// there is no copy, and a product is given the rows themselves.
#pragma once
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class RoundedRows {
  using V = Vec<T>;
  static constexpr int64_t line = cache_line / sizeof(T);

 public:
  RoundedRows(int64_t rows, int64_t numbers)
      : numbers(numbers), width((divide_up(factors_in<T>(numbers), line) | 1) * line),
        copy(rounds_factors<T> ? rows * width : 0) {}

  // Row i of the copy, or the row itself.
  FASTRNN_INLINE const Factor<T>* operator()(int64_t i, const T* row) const {
    if constexpr (rounds_factors<T>)
      return copy + i * width;
    else
      return row;
  }

  // Fills numbers u, u + 1, … of row i, of which n exist.
  FASTRNN_INLINE void store(int64_t i, int64_t u, V v, int n) const {
    if constexpr (rounds_factors<T>) Factors<T>::store(copy + i * width, u, v, n);
  }

  // Fills row i with numbers that are rounded already.
  FASTRNN_INLINE void copy_from(int64_t i, const BFloat16* row) const {
    if constexpr (rounds_factors<T>) {
      BFloat16* to = reinterpret_cast<BFloat16*>(copy + i * width);
      __builtin_memcpy(to, row, numbers * sizeof *to);
      if (numbers % 2) to[numbers] = {};
    }
  }

  // Numbers u … end - 1 of row i, in bfloat16.
  FASTRNN_INLINE void copy_to(BFloat16* row, int64_t i, int64_t u, int64_t end) const {
    if constexpr (rounds_factors<T>)
      __builtin_memcpy(row + u, reinterpret_cast<const BFloat16*>(copy + i * width) + u, (end - u) * sizeof *row);
  }

  // Fills row i.
  FASTRNN_INLINE void round(int64_t i, const T* row) const {
    if constexpr (rounds_factors<T>)
      for (int64_t u = 0; u < numbers; u += V::lanes) store(i, u, V::load(row + u, int(numbers - u)), int(numbers - u));
  }

 private:
  const int64_t numbers, width;  // of a row; the width is an odd number of cache lines: see gates_width
  Buffer<Factor<T>> copy;
};

}  // namespace fastrnn::FASTRNN_TARGET
