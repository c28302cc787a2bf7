// Rows as products read them, where that is not as everything else does: rounded, in factors (see factors.h), or
// multiplied by a mask. Elsewhere there is no copy, and a product is given the rows themselves.
#pragma once
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

// `maskable`: whether there is a mask is known when the program runs. Else what is not rounded costs nothing.
template <class T, bool maskable = false>
class FactorRows {
  using V = Vec<T>;
  static constexpr int64_t line = cache_line / sizeof(T);

 public:
  FactorRows(int64_t rows, int64_t numbers, bool masked = false)
      : numbers(numbers), width((divide_up(factors_in<T>(numbers), line) | 1) * line), masked(masked),
        copy(is_copy() ? rows * width : 0) {}

  FASTRNN_INLINE bool is_copy() const { return rounds_factors<T> || (maskable && masked); }

  // Row i of the copy, or the row itself.
  FASTRNN_INLINE const Factor<T>* operator()(int64_t i, const T* row) const {
    if constexpr (!rounds_factors<T>)
      if (!is_copy()) return row;
    return copy + i * width;
  }

  // Fills numbers u, u + 1, … of row i, of which n exist.
  FASTRNN_INLINE void store(int64_t i, int64_t u, V v, int n) const {
    if (is_copy()) Factors<T>::store(copy + i * width, u, v, n);
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

  // Fills row i with a row, or with its product with a mask that is not null.
  FASTRNN_INLINE void fill(int64_t i, const T* row, const T* mask = nullptr) const {
    for (int64_t u = 0; is_copy() && u < numbers; u += V::lanes) {
      const int n = int(numbers - u);
      const V v = V::load(row + u, n);
      store(i, u, mask ? v * V::load(mask + u, n) : v, n);
    }
  }

 private:
  const int64_t numbers, width;  // of a row; the width is an odd number of cache lines: see gates_width
  const bool masked;
  Buffer<Factor<T>> copy;
};

template <class T>
using MaskedRows = FactorRows<T, true>;

}  // namespace fastrnn::FASTRNN_TARGET
