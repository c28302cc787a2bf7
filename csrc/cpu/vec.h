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
    T padded[lanes] = {};
    for (int i = 0; i < n; ++i) padded[i] = p[i];
    return load(padded);
  }
  FASTRNN_INLINE void store(T* p, int n) const {
    if (n >= lanes) return store(p);
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }

  friend FASTRNN_INLINE Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend FASTRNN_INLINE Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend FASTRNN_INLINE Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend FASTRNN_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend FASTRNN_INLINE Vec operator-(int a, Vec b) { return T(a) - b.v; }

  FASTRNN_INLINE T sum() const {
    Register total = v;
#pragma GCC unroll 4
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
      typename VectorTypes<T>::Integers partner;
      for (int i = 0; i < lanes; ++i) partner[i] = i ^ distance;
      total += __builtin_shuffle(total, partner);
    }
    return total[0];
  }
};

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
