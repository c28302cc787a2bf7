// sigmoid, tanh and relu of a register, within 2.5 units in the last place (tests/operators/test_activations.py
// holds them to it; measured at worst: tanh 2.3 in float, 2.5 in double; sigmoid 2.2 and 2.1), and within 3 where the
// processor has no multiply-add (tanh 2.7 and 2.9). AVX-512 has others for float: activations_by_table.h.
//
// e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2)/2. What is computed is e^r - 1, by its Taylor series. With
// q = exp(2|x|) - 1, tanh |x| is q / (q + 2), which keeps its relative accuracy at zero, and 1 - 2 / (q + 2), which
// keeps the accuracy of 1 - tanh² where tanh saturates: gradients are made of that. NaN passes through every comparison
// below unchanged, and the ends are exact: sigmoid(-inf) = 0, sigmoid(inf) = 1, tanh(±inf) = ±1. They are multiplied by
// states that may be infinite, and 0 · inf must stay NaN.
#pragma once
#include "vec.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr int mantissa = 23, bias = 127, degree = 7;                // next term: 0.35^8/8! = 5e-9
  static constexpr float limit = 0x1.5d589ep6f;                              // 87.336: e^±limit are normal numbers
  static constexpr float overflow = 89;                                      // e^overflow is infinite
  static constexpr float round = 0x1.8p23f;                                  // adding it rounds to an integer
  static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;  // n * ln2_high is exact
};

template <>
struct ExpConstants<double> {
  static constexpr int mantissa = 52, bias = 1023, degree = 13;  // next term: 0.35^14/14! = 4e-18
  static constexpr double limit = 708.39, overflow = 710;
  static constexpr double round = 0x1.8p52;
  static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
};

// e^x = scale * (1 + r + r² * series), for -limit <= x <= overflow, whose scale is infinite.
template <class T>
struct Exponential {
  typename Vec<T>::Register scale, r, series;
};

template <class T>
FASTRNN_INLINE Exponential<T> exponential(typename Vec<T>::Register x) {
  using C = ExpConstants<T>;
  using Register = typename Vec<T>::Register;
  using Integers = typename VectorTypes<T>::Integers;
  Register shifted = x * T(1.4426950408889634) + (C::round + C::bias);  // the low bits of `shifted` hold n + bias
  Register n = shifted - (C::round + C::bias);
  Register r = x - n * C::ln2_high - n * C::ln2_low;
  T factorial = 1;
  T coefficient[C::degree + 1];
  for (int k = 1; k <= C::degree; ++k) coefficient[k] = 1 / (factorial *= k);
  Register series = Register{} + coefficient[C::degree];
#pragma GCC unroll 16
  for (int k = C::degree - 1; k >= 2; --k) series = series * r + coefficient[k];
  return {(Register)((Integers)shifted << C::mantissa), r, series};
}

// 1 / x for finite x. A division of 16 floats is slow and an LSTM step has five: the processor's 14-bit reciprocal and
// one Newton step do the same within the bounds above.
template <class Register>
FASTRNN_INLINE Register reciprocal(Register x) {
  return 1 / x;
}

#if FASTRNN_VECTOR_BYTES == 64
FASTRNN_INLINE Vec<float>::Register reciprocal(Vec<float>::Register x, uint16_t lanes = -1) {  // 0 in other lanes
  Vec<float>::Register zero{}, r = __builtin_ia32_rcp14ps512_mask(x, zero, -1);
  return __builtin_ia32_vfmaddps512_maskz(r, 1 - x * r, r, lanes, 4);
}
#endif

// 1 / (1 + e^-x)
template <class T>
FASTRNN_INLINE Vec<T> sigmoid(Vec<T> x) {
  using C = ExpConstants<T>;
  auto e = exponential<T>(-at_most<T>(at_least<T>(x.v, -C::overflow), C::limit));
  return Vec<T>(1 / (e.scale * (e.r * (e.r * e.series + 1) + 1) + 1));
}

template <class T>
FASTRNN_INLINE Vec<T> tanh(Vec<T> x) {
  using Register = typename Vec<T>::Register;
  constexpr T half_way = T(0.55);  // tanh is 1/2 there, so both forms add errors of one size
  Register magnitude = absolute<T>(x.v);
  auto e = exponential<T>(at_most<T>(magnitude + magnitude, ExpConstants<T>::limit));
  Register q = e.scale * (e.r * (e.r * e.series) + e.r) + (e.scale - 1), r = reciprocal(q + 2);
  Register ratio = q * r, t = ratio + r * (q - (q + 2) * ratio);  // the second term: one ulp less at worst
  t = magnitude < half_way ? t : 1 - (r + r);
  return Vec<T>(with_sign_of<T>(t, x.v));
}

// As torch's: NaN stays NaN.
template <class T>
FASTRNN_INLINE Vec<T> relu(Vec<T> x) {
  return Vec<T>(x.v < T(0) ? typename Vec<T>::Register{} : x.v);
}

// The derivative of relu times dh, where h is its value. Chosen, not multiplied, as torch does it: 0 where h is 0 even
// if dh is infinite, and dh where h is NaN.
template <class T>
FASTRNN_INLINE Vec<T> relu_backward(Vec<T> dh, Vec<T> h) {
  return Vec<T>(h.v <= T(0) ? typename Vec<T>::Register{} : dh.v);
}

}  // namespace fastrnn::FASTRNN_TARGET

#if FASTRNN_VECTOR_BYTES == 64
#include "activations_by_table.h"
#endif
