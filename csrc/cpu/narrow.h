// Weights in 16 bits, read as float32: where a step needs each weight once, to widen them first would take far longer
// than the step (LSTM T1 B1 H256: 0.6 ms instead of 0.02).
#pragma once
#include "../sequence/problem.h"
#include "vec.h"

namespace fastrnn::FASTRNN_TARGET {

struct Float16 {
  uint16_t bits;
};

using Floats = Vec<float>::Register;
typedef uint32_t Bits __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
typedef uint16_t HalfBits __attribute__((vector_size(FASTRNN_VECTOR_BYTES / 2)));

// The upper half of a float32.
FASTRNN_INLINE Vec<float> widen(BFloat16, HalfBits half) { return Floats(__builtin_convertvector(half, Bits) << 16); }

// 5 bits of exponent instead of 8: as the same bits of a float32 it is 2^112 times as small, subnormal numbers too.
FASTRNN_INLINE Vec<float> widen(Float16, HalfBits half) {
#if FASTRNN_VECTOR_BYTES == 64
  typedef short Signed __attribute__((vector_size(32)));
  constexpr int current_rounding = 4;
  return __builtin_ia32_vcvtph2ps512_mask((Signed)half, Floats{}, -1, current_rounding);
#elif FASTRNN_VECTOR_BYTES == 32  // gcc defines no __F16C__ for a pragma
  typedef short Signed __attribute__((vector_size(16)));
  return __builtin_ia32_vcvtph2ps256((Signed)half);
#else
  const Bits bits = __builtin_convertvector(half, Bits), magnitude = (bits & 0x7fff) << 13;
  const Bits finite = Bits(Floats(magnitude) * 0x1p112f), infinite_or_nan = magnitude | 0x7f800000;
  return Floats((magnitude >= 0x0f800000 ? infinite_or_nan : finite) | (bits & 0x8000) << 16);
#endif
}

template <class Half>
FASTRNN_INLINE Vec<float> load_halves(const Half* p, int n) {
  HalfBits half{};
  if (n >= Vec<float>::lanes)
    __builtin_memcpy(&half, p, sizeof half);
  else
    for (int i = 0; i < n; ++i) half[i] = p[i].bits;
  return widen(Half{}, half);
}

// The first n lanes of a vector of weights as the kernels compute with them, the others zero.
template <class T>
FASTRNN_INLINE Vec<T> load_weights(const T* p, int n = Vec<T>::lanes) {
  return Vec<T>::load(p, n);
}
FASTRNN_INLINE Vec<float> load_weights(const BFloat16* p, int n = Vec<float>::lanes) { return load_halves(p, n); }
FASTRNN_INLINE Vec<float> load_weights(const Float16* p, int n = Vec<float>::lanes) { return load_halves(p, n); }

// Calls visit(pointer) with the type that the weights have, from number `offset` on.
template <class T, class Visit>
FASTRNN_INLINE auto visit_weights(const Weights<T>& weights, int64_t offset, Visit visit) {
#if FASTRNN_BFLOAT16
  if (weights.format == WeightFormat::bfloat16) return visit(static_cast<const BFloat16*>(weights.data) + offset);
  return visit(weights.numbers() + offset);  // biases and vectors beside packed matrices
#else
  if constexpr (sizeof(T) == 4) {
    if (weights.format == WeightFormat::bfloat16) return visit(static_cast<const BFloat16*>(weights.data) + offset);
    if (weights.format == WeightFormat::float16) return visit(static_cast<const Float16*>(weights.data) + offset);
  }
  return visit(weights.numbers() + offset);
#endif
}

}  // namespace fastrnn::FASTRNN_TARGET
