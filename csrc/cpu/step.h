// The step of a user's cell, as C++ (cells/step.h), on registers: with the functions of the interpreter, and with its
// bits.
#pragma once
#include "../cells/step.h"
#include "functions.h"

namespace fastrnn::FASTRNN_TARGET {

// What one instruction of a program computed. The compiler may not join what comes before with what comes after: a
// product and a sum of two instructions are rounded twice, as the interpreter rounds them.
template <class T>
FASTRNN_INLINE Vec<T> rounded(Vec<T> x) {
#if defined(__x86_64__)
  asm("" : "+v"(x.v));
#elif defined(__aarch64__)
  asm("" : "+w"(x.v));
#endif
  return x;
}

// Registers of units side by side. A function is a chain of operations that wait for each other, and a step is a chain
// of functions: of one register at a time, the processor looks ahead too little to have other work. Four take 0.75 to
// 0.65 of the time of one on 256 units (Peephole, SLSTM; AMD EPYC, Zen 5, AVX-512).
template <class T, int R>
struct Registers {
  Vec<T> of[R];

  static FASTRNN_INLINE Registers load(const T* p, int n) {
    Registers x;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) x.of[r] = Vec<T>::load(p + r * Vec<T>::lanes, n - r * Vec<T>::lanes);
    return x;
  }
  FASTRNN_INLINE void store(T* p, int n) const {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) of[r].store(p + r * Vec<T>::lanes, n - r * Vec<T>::lanes);
  }
};

template <class F, class T, int R, class... Others>
FASTRNN_INLINE Registers<T, R> each(F f, const Registers<T, R>& x, const Others&... others) {
  Registers<T, R> y;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) y.of[r] = rounded<T>(f(x.of[r], others.of[r]...));
  return y;
}

// Functions that are none of activations.h and functions.h, as the interpreter has them. A truth value is 1 or 0.

template <class T>
FASTRNN_INLINE Vec<T> neg(Vec<T> x) {
  return Vec<T>(-x.v);
}
template <class T>
FASTRNN_INLINE Vec<T> abs(Vec<T> x) {
  return Vec<T>(absolute<T>(x.v));
}
template <class T>
FASTRNN_INLINE Vec<T> less(Vec<T> a, Vec<T> b) {
  using Register = typename Vec<T>::Register;
  return Vec<T>(a.v < b.v ? Register{} + 1 : Register{});
}
template <class T>
FASTRNN_INLINE Vec<T> less_or_equal(Vec<T> a, Vec<T> b) {
  using Register = typename Vec<T>::Register;
  return Vec<T>(a.v <= b.v ? Register{} + 1 : Register{});
}
template <class T>
FASTRNN_INLINE Vec<T> equal(Vec<T> a, Vec<T> b) {
  using Register = typename Vec<T>::Register;
  return Vec<T>(a.v == b.v ? Register{} + 1 : Register{});
}
template <class T>
FASTRNN_INLINE Vec<T> where(Vec<T> condition, Vec<T> a, Vec<T> b) {
  return Vec<T>(condition.v != typename Vec<T>::Register{} ? a.v : b.v);
}

// All of registers side by side.

#define FASTRNN_OF_ONE(name)                                                         \
  template <class T, int R>                                                          \
  FASTRNN_INLINE Registers<T, R> name(const Registers<T, R>& x) {                    \
    return each([](Vec<T> a) __attribute__((always_inline)) { return name(a); }, x); \
  }
#define FASTRNN_OF_TWO(name, value)                                                             \
  template <class T, int R>                                                                     \
  FASTRNN_INLINE Registers<T, R> name(const Registers<T, R>& x, const Registers<T, R>& y) {     \
    return each([](Vec<T> a, Vec<T> b) __attribute__((always_inline)) { return value; }, x, y); \
  }
#define FASTRNN_OF_THREE(name, value)                                                                                 \
  template <class T, int R>                                                                                           \
  FASTRNN_INLINE Registers<T, R> name(const Registers<T, R>& x, const Registers<T, R>& y, const Registers<T, R>& z) { \
    return each([](Vec<T> a, Vec<T> b, Vec<T> c) __attribute__((always_inline)) { return value; }, x, y, z);          \
  }
FASTRNN_OF_ONE(neg)
FASTRNN_OF_ONE(exp)
FASTRNN_OF_ONE(log)
FASTRNN_OF_ONE(log1p)
FASTRNN_OF_ONE(sqrt)
FASTRNN_OF_ONE(abs)
FASTRNN_OF_ONE(sign)
FASTRNN_OF_ONE(sigmoid)
FASTRNN_OF_ONE(tanh)
FASTRNN_OF_ONE(relu)
FASTRNN_OF_ONE(softplus)
FASTRNN_OF_ONE(logsigmoid)
FASTRNN_OF_ONE(normal_cdf)
FASTRNN_OF_ONE(normal_density)
FASTRNN_OF_ONE(sin)
FASTRNN_OF_ONE(cos)
FASTRNN_OF_TWO(operator+, a + b)
FASTRNN_OF_TWO(operator-, a - b)
FASTRNN_OF_TWO(operator*, a* b)
FASTRNN_OF_TWO(operator/, a / b)
FASTRNN_OF_TWO(maximum, maximum(a, b))
FASTRNN_OF_TWO(minimum, minimum(a, b))
FASTRNN_OF_TWO(less, less(a, b))
FASTRNN_OF_TWO(less_or_equal, less_or_equal(a, b))
FASTRNN_OF_TWO(equal, equal(a, b))
FASTRNN_OF_THREE(where, where(a, b, c))
FASTRNN_OF_THREE(multiply_add, a* b + c)
FASTRNN_OF_THREE(multiply_sub, a* b - c)
FASTRNN_OF_THREE(sub_multiplied, c - a * b)
#undef FASTRNN_OF_ONE
#undef FASTRNN_OF_TWO
#undef FASTRNN_OF_THREE

template <class T, int R>
FASTRNN_INLINE Registers<T, R> operator-(int one, const Registers<T, R>& x) {
  return each([=](Vec<T> a) __attribute__((always_inline)) { return one - a; }, x);
}
template <class T, int R>
FASTRNN_INLINE Registers<T, R> power(const Registers<T, R>& x, int n) {
  return each([=](Vec<T> a) __attribute__((always_inline)) { return power(a, n); }, x);
}
template <class T, int R>
FASTRNN_INLINE Registers<T, R> clamped(const Registers<T, R>& x, double low, double high) {
  return each([=](Vec<T> a) __attribute__((always_inline)) { return clamp(a, T(low), T(high)); }, x);
}

}  // namespace fastrnn::FASTRNN_TARGET

namespace fastrnn {

template <class T, int R>
struct Constant<FASTRNN_TARGET::Registers<T, R>> {
  static FASTRNN_INLINE FASTRNN_TARGET::Registers<T, R> of(double k) {
    FASTRNN_TARGET::Registers<T, R> x;
    for (int r = 0; r < R; ++r) x.of[r] = typename FASTRNN_TARGET::Vec<T>::Register{} + T(k);
    return x;
  }
};

}  // namespace fastrnn
