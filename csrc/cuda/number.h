// The numbers of a CUDA thread. x, weights, h and y are stored as T; sums, states and what is saved for the backward
// pass are Accumulated<T>: float for the narrow types. A cell computes with Scalar, "a vector of one number".
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <stdint.h>

#include <stdexcept>
#include <type_traits>

#define FASTRNN_DEVICE __host__ __device__ inline

namespace fastrnn::cuda {

enum class Number { float64, float32, bfloat16, float16 };

template <class T>
constexpr Number number_of = std::is_same_v<T, double>          ? Number::float64
                             : std::is_same_v<T, float>         ? Number::float32
                             : std::is_same_v<T, __nv_bfloat16> ? Number::bfloat16
                                                                : Number::float16;

// Calls run<T>() for a number's type.
template <class Run>
auto for_number(Number number, Run run) {
  switch (number) {
    case Number::float64:
      return run.template operator()<double>();
    case Number::float32:
      return run.template operator()<float>();
    case Number::bfloat16:
      return run.template operator()<__nv_bfloat16>();
    case Number::float16:
      return run.template operator()<__half>();
  }
  throw std::logic_error("unknown kind of number");
}

template <class T>
struct AccumulatedType {
  using type = float;
};
template <>
struct AccumulatedType<double> {
  using type = double;
};
template <class T>
using Accumulated = typename AccumulatedType<T>::type;

FASTRNN_DEVICE float widened(float x) { return x; }
FASTRNN_DEVICE double widened(double x) { return x; }
FASTRNN_DEVICE float widened(__half x) { return __half2float(x); }
FASTRNN_DEVICE float widened(__nv_bfloat16 x) { return __bfloat162float(x); }

FASTRNN_DEVICE void store(float* to, float x) { *to = x; }
FASTRNN_DEVICE void store(double* to, double x) { *to = x; }
FASTRNN_DEVICE void store(__half* to, float x) { *to = __float2half_rn(x); }
FASTRNN_DEVICE void store(__nv_bfloat16* to, float x) { *to = __float2bfloat16_rn(x); }

// What the matrix units multiply: a float32 is rounded to TF32, the nearest, as those numbers cannot be stored apart.
FASTRNN_DEVICE void store_operand(float* to, float x) {
  union {
    float number;
    uint32_t bits;
  } value{x};
  value.bits = (value.bits + (1u << 12)) & ~((1u << 13) - 1);
  *to = x != x ? x : value.number;
}
template <class T>
FASTRNN_DEVICE void store_operand(T* to, float x) {
  store(to, x);
}

template <class A>
struct Scalar {
  A v;

  friend FASTRNN_DEVICE Scalar operator+(Scalar a, Scalar b) { return {a.v + b.v}; }
  friend FASTRNN_DEVICE Scalar operator-(Scalar a, Scalar b) { return {a.v - b.v}; }
  friend FASTRNN_DEVICE Scalar operator*(Scalar a, Scalar b) { return {a.v * b.v}; }
  friend FASTRNN_DEVICE Scalar operator-(int a, Scalar b) { return {A(a) - b.v}; }
};

// The accurate functions of the CUDA library: exp saturates to 0 and infinity, where 1 / (1 + exp) is 1 and 0; tanh
// never divides infinity by infinity. NaN stays NaN.
FASTRNN_DEVICE Scalar<float> sigmoid(Scalar<float> x) { return {1 / (1 + expf(-x.v))}; }
FASTRNN_DEVICE Scalar<double> sigmoid(Scalar<double> x) { return {1 / (1 + exp(-x.v))}; }
FASTRNN_DEVICE Scalar<float> tanh(Scalar<float> x) { return {tanhf(x.v)}; }
FASTRNN_DEVICE Scalar<double> tanh(Scalar<double> x) { return {::tanh(x.v)}; }

template <class A>
FASTRNN_DEVICE Scalar<A> relu(Scalar<A> x) {
  return {x.v < A(0) ? A(0) : x.v};
}

template <class A>
FASTRNN_DEVICE Scalar<A> relu_backward(Scalar<A> dh, Scalar<A> h) {  // chosen, not multiplied: dh may be infinite
  return {h.v <= A(0) ? A(0) : dh.v};
}

// A number of the persistent kernels, whose operands are of 16 bits or TF32: sigmoid and tanh by the fast exponential
// and division, without a branch. For arguments up to 10 they are within 1e-6 of the true value, relative to it, and
// there the operands are rounded to 5e-4 at best. Infinities and NaN stay right.
struct Quick {
  float v;

  friend FASTRNN_DEVICE Quick operator+(Quick a, Quick b) { return {a.v + b.v}; }
  friend FASTRNN_DEVICE Quick operator-(Quick a, Quick b) { return {a.v - b.v}; }
  friend FASTRNN_DEVICE Quick operator*(Quick a, Quick b) { return {a.v * b.v}; }
  friend FASTRNN_DEVICE Quick operator-(int a, Quick b) { return {float(a) - b.v}; }
};

// 1 / (1 + e^x). Where e^x is beyond 2^126 the fast division gives 0, as it should be.
FASTRNN_DEVICE float quick_logistic(float x) {
#ifdef __CUDA_ARCH__
  return __fdividef(1, 1 + __expf(x));
#else
  return 1 / (1 + expf(x));
#endif
}
FASTRNN_DEVICE Quick sigmoid(Quick x) { return {quick_logistic(-x.v)}; }
// Near 0, where the formula takes one number from another almost equal to it, the beginning of the series.
FASTRNN_DEVICE Quick tanh(Quick x) {
  const float square = x.v * x.v, far = 1 - 2 * quick_logistic(2 * x.v);
  const float near =
      x.v + x.v * square * (-1.0f / 3 + square * (2.0f / 15 + square * (-17.0f / 315 + square * (62.0f / 2835))));
  return {square < 0.0625f ? near : far};
}
FASTRNN_DEVICE Quick relu(Quick x) { return {x.v < 0 ? 0 : x.v}; }
FASTRNN_DEVICE Quick relu_backward(Quick dh, Quick h) { return {h.v <= 0 ? 0 : dh.v}; }

}  // namespace fastrnn::cuda
