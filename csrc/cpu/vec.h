// One SIMD register of numbers. The compiler's own vector type does the work, so the same lines are AVX-512, AVX2 or
// the baseline of the machine: the file that includes this names the width and the target (see kernels_avx512.cpp).
//
// Everything here and in whatever includes it lives in a namespace named after the instruction set: an inline
// function compiled for AVX-512 must never be the copy that the linker keeps for a machine without it. For the same
// reason no container and no torch header may be included below.
#pragma once
#include <stdint.h>

#define FASTRNN_INLINE inline __attribute__((always_inline))

namespace fastrnn::FASTRNN_TARGET {

template <class T>
struct VectorTypes;

template <>
struct VectorTypes<float> {
  typedef float Register __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(FASTRNN_VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
};

template <>
struct VectorTypes<double> {
  typedef double Register __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(FASTRNN_VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t Integers __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
};

template <class T>
struct Vec {
  static constexpr int lanes = FASTRNN_VECTOR_BYTES / sizeof(T);
  using Register = typename VectorTypes<T>::Register;
  using Unaligned = typename VectorTypes<T>::Unaligned;

  Register v;

  Vec() = default;
  FASTRNN_INLINE Vec(Register r) : v(r) {}

  static FASTRNN_INLINE Vec load(const T* p) { return Register(*reinterpret_cast<const Unaligned*>(p)); }
  FASTRNN_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = v; }

  // The first n lanes only, where a row ends: the others read as zero and are not written.
  static FASTRNN_INLINE Vec load(const T* p, int n) {
    if (n >= lanes) return load(p);
#if FASTRNN_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4)
      return __builtin_ia32_loadups512_mask(p, Register{}, first(n));
    else
      return __builtin_ia32_loadupd512_mask(p, Register{}, first(n));
#else
    T padded[lanes] = {};
    for (int i = 0; i < n; ++i) padded[i] = p[i];
    return load(padded);
#endif
  }
  FASTRNN_INLINE void store(T* p, int n) const {
    if (n >= lanes) return store(p);
#if FASTRNN_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4)
      __builtin_ia32_storeups512_mask(p, v, first(n));
    else
      __builtin_ia32_storeupd512_mask(p, v, first(n));
#else
    for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
  }
  static FASTRNN_INLINE unsigned first(int n) { return n > 0 ? (1u << n) - 1 : 0; }  // as a mask

  friend FASTRNN_INLINE Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend FASTRNN_INLINE Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend FASTRNN_INLINE Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend FASTRNN_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend FASTRNN_INLINE Vec operator-(int a, Vec b) { return T(a) - b.v; }
};

// A number that is used several times and shall be loaded once: gcc makes it an operand in memory of every multiply-add
// that uses it, which halves the speed of dots.h.
template <class T>
FASTRNN_INLINE Vec<T> in_register(Vec<T> x) {
#if defined(__x86_64__)
  asm("" : "+v"(x.v));
#endif
  return x;
}

// The smaller of x and a limit, the larger, both; NaN stays NaN. AVX-512 has one instruction for it, which the compiler
// does not find by itself.
template <class T>
FASTRNN_INLINE typename Vec<T>::Register at_most(typename Vec<T>::Register x, T limit) {
  typename Vec<T>::Register bound = typename Vec<T>::Register{} + limit;
#if FASTRNN_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) return __builtin_ia32_minps512_mask(bound, x, bound, -1, 4);
#endif
  return bound < x ? bound : x;
}

template <class T>
FASTRNN_INLINE typename Vec<T>::Register at_least(typename Vec<T>::Register x, T limit) {
  typename Vec<T>::Register bound = typename Vec<T>::Register{} + limit;
#if FASTRNN_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4) return __builtin_ia32_maxps512_mask(bound, x, bound, -1, 4);
#endif
  return bound > x ? bound : x;
}

template <class T>
FASTRNN_INLINE Vec<T> zero_if_nan(Vec<T> x) {
  return x.v == x.v ? x.v : typename Vec<T>::Register{};
}

#if FASTRNN_VECTOR_BYTES == 64
// The lanes of x that are not less than a limit, NaN among them.
FASTRNN_INLINE uint16_t not_less(Vec<float>::Register x, float limit) {
  constexpr int not_less_than = 5;
  return __builtin_ia32_cmpps512_mask(x, Vec<float>::Register{} + limit, not_less_than, -1, 4);
}
#endif

template <class T>
FASTRNN_INLINE typename Vec<T>::Register absolute(typename Vec<T>::Register x) {
  using Integers = typename VectorTypes<T>::Integers;
  const Integers sign_bits = ~Integers{} << (8 * sizeof(T) - 1);
  return (typename Vec<T>::Register)((Integers)x & ~sign_bits);
}

template <class T>
FASTRNN_INLINE typename Vec<T>::Register with_sign_of(typename Vec<T>::Register positive, typename Vec<T>::Register x) {
  using Integers = typename VectorTypes<T>::Integers;
  const Integers sign_bits = ~Integers{} << (8 * sizeof(T) - 1);
  return (typename Vec<T>::Register)((Integers)positive | ((Integers)x & sign_bits));
}

// Adds lanes of a, and lanes of b, whose numbers differ by `distance`. Lane l of the result is of b where l has that
// bit, else of a.
template <class T, int distance>
FASTRNN_INLINE Vec<T> fold(Vec<T> a, Vec<T> b) {
  constexpr int lanes = Vec<T>::lanes;
  typename VectorTypes<T>::Integers own, other;
  for (int l = 0; l < lanes; ++l) {
    const int of_b = l & distance ? lanes : 0;
    own[l] = of_b + l, other[l] = of_b + (l ^ distance);
  }
  return Vec<T>(__builtin_shuffle(a.v, b.v, own) + __builtin_shuffle(a.v, b.v, other));
}

// Folds `end` / `distance` registers, two into one, until one is left, v[0]. From 1 to `lanes`, its lane i is the sum
// over the lanes of v[i].
template <class T, int distance, int end>
FASTRNN_INLINE void fold_all(Vec<T>* v) {
  if constexpr (distance < end) {
#pragma GCC unroll 8
    for (int i = 0; i < end / distance / 2; ++i) v[i] = fold<T, distance>(v[2 * i], v[2 * i + 1]);
    fold_all<T, 2 * distance, end>(v);
  }
}

// Lane i of the result is the sum over the lanes of v[i].
template <class T>
FASTRNN_INLINE Vec<T> sum_each(Vec<T> (&v)[Vec<T>::lanes]) {
  fold_all<T, 1, Vec<T>::lanes>(v);
  return v[0];
}

// rows[i][j] <-> rows[j][i]. Interleaving row i with row i + lanes/2, log2(lanes) times over, transposes.
template <class T>
FASTRNN_INLINE void transpose(typename Vec<T>::Register (&rows)[Vec<T>::lanes]) {
  constexpr int lanes = Vec<T>::lanes, half = lanes / 2;
  typename VectorTypes<T>::Integers low, high;
  for (int i = 0; i < lanes; ++i) low[i] = i / 2 + i % 2 * lanes, high[i] = half + low[i];
#pragma GCC unroll 4
  for (int stage = 1; stage < lanes; stage *= 2) {
    typename Vec<T>::Register next[lanes];
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + half], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + half], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
