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
    const bool whole = 2 * k + 1 < depth;
    return pairs(row(2 * k) + column, n, row(2 * k + whole) + column, whole ? n : 0);
  }
  // Zeros where a vector goes on beyond the last number: they are multiplied by zeros, and must not be NaN.
  static FASTRNN_INLINE void store(Pair* row, int64_t u, V v, int n) {
    const __m256bh rounded = _mm512_maskz_cvtneps_pbh(__mmask16(first(n)), __m512(v.v));
    __builtin_memcpy(reinterpret_cast<char*>(row) + 2 * u, &rounded, sizeof rounded);
  }

 private:
  static FASTRNN_INLINE uint32_t first(int n) { return n >= 32 ? -1 : n > 0 ? (1u << n) - 1 : 0; }  // as a mask

  // The first n numbers of one row, each beside one of the first m of another.
  static FASTRNN_INLINE V pairs(const BFloat16* p, int n, const BFloat16* q, int m) {
    const __m256i low = _mm256_maskz_loadu_epi16(__mmask16(first(n)), p);
    return pairs(_mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_maskz_loadu_epi16(__mmask16(first(m)), q), 1));
  }
  static FASTRNN_INLINE V pairs(const float* p, int n, const float* q, int m) {
    return pairs((__m512i)_mm512_cvtne2ps_pbh(__m512(V::load(q, m).v), __m512(V::load(p, n).v)));
  }
  static FASTRNN_INLINE V pairs(__m512i halves) {
    Bits places;
    for (uint32_t i = 0; i < V::lanes; ++i) places[i] = i | (V::lanes + i) << 16;
    return Floats(_mm512_permutexvar_epi16((__m512i)places, halves));
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
