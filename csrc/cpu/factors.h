// What products multiply. In float32 and float64: the numbers themselves. Where the processor multiplies bfloat16
// (FASTRNN_BFLOAT16, see kernels_avx512_bf16.cpp), float32 operands are rounded to it, and a factor is a pair of
// neighbours along the depth of the product: vdpbf16ps adds both products to a sum in float32. A pair is as wide as a
// float32, so panels and tiles are the same, and half as deep. An odd depth ends with a pair whose second number is
// zero. The instruction takes subnormal numbers for zero and rounds to nearest even.
#pragma once
#if FASTRNN_BFLOAT16
#include <immintrin.h>
#endif

#include "narrow.h"
#include "threads.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
struct Factors {
  using V = Vec<T>;
  using Type = T;
  static constexpr int numbers = 1;  // in a factor

  // sum + a b in each lane, for b of a panel.
  static FASTRNN_INLINE typename V::Register multiply_add(typename V::Register sum, T a, typename V::Register b) {
    return sum + a * b;
  }
  // A vector of factors along a row, of its first n numbers.
  template <class Number>
  static FASTRNN_INLINE V along(const Number* row, int n) {
    return load_weights(row, n);
  }
  // Factor k of n columns side by side: `row(i)` is row i from the first of them on, of `depth` rows.
  template <class Row>
  static FASTRNN_INLINE V across(Row row, int64_t k, int64_t depth, int64_t column, int n) {
    return load_weights(row(k) + column, n);
  }
  // Numbers u, u + 1, … of a row of factors, of which n exist.
  static FASTRNN_INLINE void store(T* row, int64_t u, V v, int n) { v.store(row + u, n); }
};

#if FASTRNN_BFLOAT16
struct Pair {
  BFloat16 first, second;
};

template <>
struct Factors<float> {
  using V = Vec<float>;
  using Type = Pair;
  static constexpr int numbers = 2;

  static FASTRNN_INLINE Floats multiply_add(Floats sum, Pair a, Floats b) {
    int both;
    __builtin_memcpy(&both, &a, sizeof both);
    return Floats(_mm512_dpbf16_ps(__m512(sum), (__m512bh)_mm512_set1_epi32(both), (__m512bh)b));
  }
  static FASTRNN_INLINE V along(const BFloat16* row, int n) { return Floats(_mm512_maskz_loadu_epi16(first(n), row)); }
  static FASTRNN_INLINE V along(const float* row, int n) {
    return Floats(_mm512_cvtne2ps_pbh(__m512(V::load(row + 16, n - 16).v), __m512(V::load(row, n).v)));
  }
  template <class Row>
  static FASTRNN_INLINE V across(Row row, int64_t k, int64_t depth, int64_t column, int n) {
    const Bits first = load(row(2 * k) + column, n);
    const Bits second = 2 * k + 1 < depth ? load(row(2 * k + 1) + column, n) : Bits{};
    return Floats(first | second << 16);
  }
  // Zeros where a vector goes on beyond the last number: they are multiplied by zeros, and must not be NaN.
  static FASTRNN_INLINE void store(Pair* row, int64_t u, V v, int n) {
    const __m256bh rounded = _mm512_maskz_cvtneps_pbh(__mmask16(first(n)), __m512(v.v));
    __builtin_memcpy(reinterpret_cast<char*>(row) + 2 * u, &rounded, sizeof rounded);
  }

 private:
  static FASTRNN_INLINE uint32_t first(int n) { return n >= 32 ? -1 : n > 0 ? (1u << n) - 1 : 0; }  // as a mask

  // n numbers in the lower halves of 16 lanes.
  static FASTRNN_INLINE Bits load(const BFloat16* p, int n) {
    return __builtin_convertvector(HalfBits(_mm256_maskz_loadu_epi16(__mmask16(first(n)), p)), Bits);
  }
  static FASTRNN_INLINE Bits load(const float* p, int n) {
    return __builtin_convertvector((HalfBits)_mm512_cvtneps_pbh(__m512(V::load(p, n).v)), Bits);
  }
};
#endif

template <class T>
using Factor = typename Factors<T>::Type;

// Whether products read a copy of their rows, rounded.
template <class T>
constexpr bool rounds_factors = Factors<T>::numbers > 1;

template <class T>
FASTRNN_INLINE int64_t factors_in(int64_t numbers) {
  return divide_up(numbers, Factors<T>::numbers);
}

// A vector of factors of a panel, as the lanes of a register.
template <class T>
FASTRNN_INLINE Vec<T> load_factors(const Factor<T>* p) {
  return Vec<T>::load(reinterpret_cast<const T*>(p));
}
template <class T>
FASTRNN_INLINE void store_factors(Factor<T>* p, Vec<T> v) {
  v.store(reinterpret_cast<T*>(p));
}

}  // namespace fastrnn::FASTRNN_TARGET
