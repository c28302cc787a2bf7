// The functions of users' cells that no built-in cell has, of a register: within 4 units in the last place in float
// (tests/cells/test_program.py), exact at infinity and zero, NaN where torch's is.
//
// exp and log split off a power of two and go on with the Taylor series of the rest. sin, cos and the normal
// distribution are libm's, a lane at a time and for float in double: right, and slow (some 10 ns a number).
#pragma once
#include "activations.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
constexpr T infinity = T(__builtin_inf());

// e^x. Its scale is applied in two halves, so that results may be denormal, or infinite.
template <class T>
FASTRNN_INLINE Vec<T> exp(Vec<T> x) {
  using C = ExpConstants<T>;
  using Register = typename Vec<T>::Register;
  using Integers = typename VectorTypes<T>::Integers;
  constexpr T least = sizeof(T) == 4 ? -104 : -746;  // e^least is 0
  const Register bounded = at_most<T>(at_least<T>(x.v, least), C::overflow);
  const Register shifted = bounded * T(1.4426950408889634) + C::round, n = shifted - C::round;
  const Register r = bounded - n * C::ln2_high - n * C::ln2_low;
  T factorial = 1;
  T coefficient[C::degree + 1];
  for (int k = 1; k <= C::degree; ++k) coefficient[k] = 1 / (factorial *= k);
  Register series = Register{} + coefficient[C::degree];
#pragma GCC unroll 16
  for (int k = C::degree - 1; k >= 1; --k) series = series * r + coefficient[k];
  const Integers exponent = (Integers)shifted - (Integers)(Register{} + C::round), half = exponent >> 1;
  const Register low = (Register)((half + C::bias) << C::mantissa);
  const Register high = (Register)((exponent - half + C::bias) << C::mantissa);
  return Vec<T>((series * r + 1) * low * high);
}

// log x = e ln 2 + log m, m in [√½, √2), and with s = (m - 1) / (m + 1) log m = 2 (s + s³/3 + s⁵/5 ...).
template <class T>
FASTRNN_INLINE Vec<T> log(Vec<T> x) {
  using C = ExpConstants<T>;
  using Register = typename Vec<T>::Register;
  using Integers = typename VectorTypes<T>::Integers;
  constexpr int terms = sizeof(T) == 4 ? 5 : 11;  // next: 0.03^terms / (2 terms + 1)
  constexpr T least_normal = sizeof(T) == 4 ? T(0x1p-126) : T(0x1p-1022), up = sizeof(T) == 4 ? T(0x1p24) : T(0x1p54);
  constexpr T of_up = sizeof(T) == 4 ? 24 : 54;
  const auto denormal = x.v < least_normal;
  const Register normal = denormal ? x.v * up : x.v;
  // The exponent of m · 2^e with m in [√½, √2): the bits less those of √½.
  const Integers bits = (Integers)normal, sqrt_half = (Integers)(Register{} + T(0.70710678118654752));
  const Integers exponent = (bits - sqrt_half) >> C::mantissa;
  const Register m = (Register)(bits - (exponent << C::mantissa));
  // An exponent as a number: its bits added to those of a number whose last bit is 1.
  Register e = (Register)((Integers)(Register{} + C::round) + exponent) - C::round;
  e = denormal ? e - of_up : e;
  const Register f = m - 1, s = f / (f + 2), square = s * s;
  Register series = Register{} + T(2) / (2 * terms + 1);
#pragma GCC unroll 16
  for (int k = terms - 1; k >= 1; --k) series = series * square + T(2) / (2 * k + 1);
  Register result = e * C::ln2_high - ((s * (f - series * square) - e * C::ln2_low) - f);
  result = x.v == infinity<T> ? x.v : result;
  result = x.v == 0 ? Register{} - infinity<T> : result;
  result = x.v < 0 ? Register{} + T(__builtin_nan("")) : result;
  return Vec<T>(x.v == x.v ? result : x.v);
}

// log(1 + x): what rounding takes from 1 + x is added again, by the slope there.
template <class T>
FASTRNN_INLINE Vec<T> log1p(Vec<T> x) {
  using Register = typename Vec<T>::Register;
  const Register u = x.v + 1;
  const Register lost = x.v - (u - 1);
  Register result = log(Vec<T>(u)).v + lost / u;
  result = u == 0 ? Register{} - infinity<T> : result;
  return Vec<T>((x.v == 0) | (x.v == infinity<T>) ? x.v : result);
}

// log(1 + e^-|x|): what softplus and logsigmoid are beside a part that is linear.
template <class T>
FASTRNN_INLINE typename Vec<T>::Register curved(Vec<T> x) {
  return log1p(exp(Vec<T>(-absolute<T>(x.v)))).v;
}

// log(1 + e^x), and x above 20, as torch's.
template <class T>
FASTRNN_INLINE Vec<T> softplus(Vec<T> x) {
  using Register = typename Vec<T>::Register;
  const Register linear = x.v < 0 ? Register{} : x.v;
  return Vec<T>(x.v > 20 ? x.v : linear + curved(x));
}

// log(1 / (1 + e^-x))
template <class T>
FASTRNN_INLINE Vec<T> logsigmoid(Vec<T> x) {
  using Register = typename Vec<T>::Register;
  const Register linear = x.v > 0 ? Register{} : x.v;
  return Vec<T>(linear - curved(x));
}

template <class T>
FASTRNN_INLINE Vec<T> sqrt(Vec<T> x) {
#if FASTRNN_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return __builtin_ia32_sqrtps512_mask(x.v, x.v, -1, 4);
  else
    return __builtin_ia32_sqrtpd512_mask(x.v, x.v, -1, 4);
#elif defined(__x86_64__) && FASTRNN_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4)
    return __builtin_ia32_sqrtps256(x.v);
  else
    return __builtin_ia32_sqrtpd256(x.v);
#elif defined(__x86_64__)
  if constexpr (sizeof(T) == 4)
    return __builtin_ia32_sqrtps(x.v);
  else
    return __builtin_ia32_sqrtpd(x.v);
#else
  for (int l = 0; l < Vec<T>::lanes; ++l) x.v[l] = T(__builtin_sqrt(x.v[l]));
  return x;
#endif
}

template <class T, class F>
FASTRNN_INLINE Vec<T> each_lane(Vec<T> x, F f) {
  for (int l = 0; l < Vec<T>::lanes; ++l) x.v[l] = T(f(double(x.v[l])));
  return x;
}

template <class T>
FASTRNN_INLINE Vec<T> sin(Vec<T> x) {
  return each_lane(x, [](double a) { return __builtin_sin(a); });
}

template <class T>
FASTRNN_INLINE Vec<T> cos(Vec<T> x) {
  return each_lane(x, [](double a) { return __builtin_cos(a); });
}

// The normal distribution, Φ(x) = erfc(-x / √2) / 2, and its density.
template <class T>
FASTRNN_INLINE Vec<T> normal_cdf(Vec<T> x) {
  return each_lane(x, [](double a) { return 0.5 * __builtin_erfc(a * -0.70710678118654752); });
}

template <class T>
FASTRNN_INLINE Vec<T> normal_density(Vec<T> x) {
  return each_lane(x, [](double a) { return 0.39894228040143268 * __builtin_exp(-0.5 * a * a); });
}

// x^n by squaring, of float in double: three squares in a row would be 7 units in the last place off.
template <class T>
FASTRNN_INLINE Vec<T> power(Vec<T> x, int n) {
  typedef double Wide __attribute__((vector_size(Vec<T>::lanes * sizeof(double))));
  Wide square = __builtin_convertvector(x.v, Wide), result = Wide{} + 1;
  for (int left = n < 0 ? -n : n; left; left >>= 1, square = square * square)
    if (left & 1) result = result * square;
  if (n < 0) result = 1 / result;
  return Vec<T>(__builtin_convertvector(result, typename Vec<T>::Register));
}

// 1 and -1, 0 of zero and of NaN, as torch's.
template <class T>
FASTRNN_INLINE Vec<T> sign(Vec<T> x) {
  using Register = typename Vec<T>::Register;
  const Register one = Register{} + 1;
  return Vec<T>(x.v > 0 ? one : x.v < 0 ? -one : Register{});
}

// NaN if either is.
template <class T>
FASTRNN_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  return Vec<T>((a.v > b.v) | (a.v != a.v) ? a.v : b.v);
}

template <class T>
FASTRNN_INLINE Vec<T> minimum(Vec<T> a, Vec<T> b) {
  return Vec<T>((a.v < b.v) | (a.v != a.v) ? a.v : b.v);
}

// As torch's: NaN stays, and where low is more than high everything is high.
template <class T>
FASTRNN_INLINE Vec<T> clamp(Vec<T> x, T low, T high) {
  using Register = typename Vec<T>::Register;
  const Register above = x.v < low ? Register{} + low : x.v;
  return Vec<T>(above > high ? Register{} + high : above);
}

}  // namespace fastrnn::FASTRNN_TARGET
