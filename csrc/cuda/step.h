// The step of a user's cell, as C++ (cells/step.h), on one number of a CUDA thread: the functions of cpu/functions.h by
// CUDA's library. Derivatives are the emitted text's; what is here has to be torch's at infinity, zero and NaN.
#pragma once
#include "../cells/step.h"
#include "number.h"

namespace fastrnn::cuda {

template <class A>
FASTRNN_DEVICE Scalar<A> operator/(Scalar<A> a, Scalar<A> b) {
  return {a.v / b.v};
}

template <class A>
FASTRNN_DEVICE Scalar<A> multiply_add(Scalar<A> a, Scalar<A> b, Scalar<A> c) {
  return {::fma(a.v, b.v, c.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> multiply_sub(Scalar<A> a, Scalar<A> b, Scalar<A> c) {
  return {::fma(a.v, b.v, -c.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> sub_multiplied(Scalar<A> a, Scalar<A> b, Scalar<A> c) {
  return {::fma(-a.v, b.v, c.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> neg(Scalar<A> x) {
  return {-x.v};
}

// Those of math.h, which has one of each name for each type.
template <class A>
FASTRNN_DEVICE Scalar<A> exp(Scalar<A> x) {
  return {::exp(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> log(Scalar<A> x) {
  return {::log(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> log1p(Scalar<A> x) {
  return {::log1p(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> sqrt(Scalar<A> x) {
  return {::sqrt(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> abs(Scalar<A> x) {
  return {::fabs(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> sin(Scalar<A> x) {
  return {::sin(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> cos(Scalar<A> x) {
  return {::cos(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> sign(Scalar<A> x) {
  return {A(x.v > 0) - A(x.v < 0)};
}

// log(1 + e^-|x|)
template <class A>
FASTRNN_DEVICE A curved(A x) {
  return ::log1p(::exp(-::fabs(x)));
}

template <class A>
FASTRNN_DEVICE Scalar<A> softplus(Scalar<A> x) {
  return {x.v > 20 ? x.v : (x.v < 0 ? A(0) : x.v) + curved(x.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> logsigmoid(Scalar<A> x) {
  return {(x.v > 0 ? A(0) : x.v) - curved(x.v)};
}

// Of float in double, as cpu/functions.h: where the distribution is small, an argument that is rounded shows.
template <class A>
FASTRNN_DEVICE Scalar<A> normal_cdf(Scalar<A> x) {
  return {A(0.5 * ::erfc(double(x.v) * -0.70710678118654752))};
}

template <class A>
FASTRNN_DEVICE Scalar<A> normal_density(Scalar<A> x) {
  return {A(0.39894228040143268 * ::exp(-0.5 * double(x.v) * double(x.v)))};
}

// x^n by squaring, of float in double likewise. n is known when this is compiled.
template <class A>
FASTRNN_DEVICE Scalar<A> power(Scalar<A> x, int n) {
  double square = x.v, result = 1;
  for (int left = n < 0 ? -n : n; left; left >>= 1, square = square * square)
    if (left & 1) result = result * square;
  return {A(n < 0 ? 1 / result : result)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> maximum(Scalar<A> a, Scalar<A> b) {
  return a.v > b.v || a.v != a.v ? a : b;
}

template <class A>
FASTRNN_DEVICE Scalar<A> minimum(Scalar<A> a, Scalar<A> b) {
  return a.v < b.v || a.v != a.v ? a : b;
}

template <class A>
FASTRNN_DEVICE Scalar<A> clamped(Scalar<A> x, double low, double high) {
  const A above = x.v < A(low) ? A(low) : x.v;
  return {above > A(high) ? A(high) : above};
}

template <class A>
FASTRNN_DEVICE Scalar<A> less(Scalar<A> a, Scalar<A> b) {
  return {A(a.v < b.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> less_or_equal(Scalar<A> a, Scalar<A> b) {
  return {A(a.v <= b.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> equal(Scalar<A> a, Scalar<A> b) {
  return {A(a.v == b.v)};
}

template <class A>
FASTRNN_DEVICE Scalar<A> where(Scalar<A> condition, Scalar<A> a, Scalar<A> b) {
  return condition.v != A(0) ? a : b;
}

}  // namespace fastrnn::cuda

namespace fastrnn {

template <class A>
struct Constant<cuda::Scalar<A>> {
  static FASTRNN_DEVICE cuda::Scalar<A> of(double k) { return {A(k)}; }
};

}  // namespace fastrnn
