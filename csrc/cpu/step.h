// The step of a user's cell, as C++ (cells/step.h), on registers: with the functions of the interpreter, and with its
// bits.
#pragma once
#include "../cells/step.h"
#include "functions.h"

namespace fastrnn::FASTRNN_TARGET {

// A register that holds what one instruction of a program computed. The compiler may not join what comes before with
// what comes after: a product and a sum of two instructions are rounded twice, as the interpreter rounds them.
template <class T>
struct Rounded : Vec<T> {
  Rounded() = default;
  FASTRNN_INLINE Rounded(Vec<T> x) : Vec<T>(x) {
#if defined(__x86_64__)
    asm("" : "+v"(this->v));
#elif defined(__aarch64__)
    asm("" : "+w"(this->v));
#endif
  }

  static FASTRNN_INLINE Rounded load(const T* p, int n) {
    Rounded x;
    x.v = Vec<T>::load(p, n).v;
    return x;
  }
};

template <class T>
FASTRNN_INLINE Vec<T> neg(Vec<T> x) {
  return Vec<T>(-x.v);
}

template <class T>
FASTRNN_INLINE Vec<T> abs(Vec<T> x) {
  return Vec<T>(absolute<T>(x.v));
}

template <class T>
FASTRNN_INLINE Vec<T> clamped(Vec<T> x, double low, double high) {
  return clamp(x, T(low), T(high));
}

// Comparisons: 1 where it is true, else 0.

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

}  // namespace fastrnn::FASTRNN_TARGET

namespace fastrnn {

template <class T>
struct Constant<FASTRNN_TARGET::Rounded<T>> {
  static FASTRNN_INLINE FASTRNN_TARGET::Vec<T> of(double k) {
    return typename FASTRNN_TARGET::Vec<T>::Register{} + T(k);
  }
};

}  // namespace fastrnn
