// The pointwise part of the loss, on a slab: some columns of the logits of some rows, one row after the other.
//
// A slab's exponentials are taken before the other slabs' logits are known, so they are relative to the slab's own
// maximum. What makes softmax of them is one factor a row and slab: see Normalizer.
#pragma once
#include "../cpu/activations.h"

namespace fastrnn::FASTRNN_TARGET {

// e^x for x <= 0 and NaN; 0 where it would be less than a normal number.
template <class T>
FASTRNN_INLINE Vec<T> exp_of_negative(Vec<T> x) {
  auto e = exponential<T>(x.v);
  return Vec<T>(x.v < -ExpConstants<T>::limit ? typename Vec<T>::Register{}
                                              : e.scale * (e.r * (e.r * e.series + 1) + 1));
}

template <class T>
FASTRNN_INLINE Vec<T> larger_of(Vec<T> a, Vec<T> b) {
  return Vec<T>(a.v < b.v ? b.v : a.v);
}

template <class T, class Combine>
FASTRNN_INLINE T over_lanes(Vec<T> v, Combine combine) {
  constexpr int lanes = Vec<T>::lanes;
#pragma GCC unroll 4
  for (int half = lanes / 2; half > 0; half /= 2) {
    typename VectorTypes<T>::Integers other;
    for (int i = 0; i < lanes; ++i) other[i] = (i + half) % lanes;
    v = combine(v, Vec<T>(__builtin_shuffle(v.v, other)));
  }
  return v.v[0];
}

// The first n lanes; the others hold `rest`.
template <class T>
FASTRNN_INLINE Vec<T> load_or(const T* p, int n, T rest) {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> v = Vec<T>::load(p, n);
  for (int i = n; i < lanes; ++i) v.v[i] = rest;
  return v;
}

// Of NaN and other numbers it is one or the other: the sum of exponentials will be NaN in any case.
template <class T>
FASTRNN_INLINE T maximum(const T* logits, int64_t count) {
  using V = Vec<T>;
  constexpr T lowest = -T(INFINITY);
  const int64_t whole = count / V::lanes * V::lanes;
  V top = typename V::Register{} + lowest;
  for (int64_t u = 0; u < whole; u += V::lanes) top = larger_of(V::load(logits + u), top);
  if (whole < count) top = larger_of(load_or(logits + whole, int(count - whole), lowest), top);
  return over_lanes(top, [](V a, V b) { return larger_of(a, b); });
}

// Logits become e^(logit - reference); returns their sum. Lanes beyond `count` are neither read nor written.
template <class T>
FASTRNN_INLINE T exponentiate(T* logits, int64_t count, T reference) {
  using V = Vec<T>;
  const int64_t whole = count / V::lanes * V::lanes;
  const int rest = int(count - whole);
  V sum{};
  for (int64_t u = 0; u < whole; u += V::lanes) {
    V e = exp_of_negative<T>(V::load(logits + u).v - reference);
    sum = sum + e;
    e.store(logits + u);
  }
  if (rest) {
    V e = exp_of_negative<T>(load_or(logits + whole, rest, -T(INFINITY)).v - reference);
    sum = sum + e;
    e.store(logits + whole, rest);
  }
  return over_lanes(sum, [](V a, V b) { return a + b; });
}

// sum over j of weights[j] · (reference - logits[j]), where no weights are ones
template <class T>
FASTRNN_INLINE T weighted_distance(const T* logits, const T* weights, int64_t count, T reference) {
  using V = Vec<T>;
  V sum{};
  for (int64_t u = 0; u < count; u += V::lanes) {
    const int n = int(count - u < V::lanes ? count - u : V::lanes);
    V distance = reference - load_or(logits + u, n, reference).v;
    sum = sum + (weights ? distance * V::load(weights + u, n) : distance);
  }
  return over_lanes(sum, [](V a, V b) { return a + b; });
}

// d = factor · d - share · weights (or share, without weights)
template <class T>
FASTRNN_INLINE void scale(T* d, T factor, T share, const T* weights, int64_t count) {
  using V = Vec<T>;
  if (share == 0) {
    for (int64_t u = 0; u < count; u += V::lanes) {
      const int n = int(count - u);
      V(V::load(d + u, n).v * factor).store(d + u, n);
    }
    return;
  }
  for (int64_t u = 0; u < count; u += V::lanes) {
    const int n = int(count - u);
    V part = weights ? V(V::load(weights + u, n).v * share) : V(typename V::Register{} + share);
    V(V::load(d + u, n).v * factor - part.v).store(d + u, n);
  }
}

// Of every slab and row the maximum and the sum of exponentials relative to it; of every row what they amount to.
template <class T>
struct Normalizer {
  const T *maxima, *sums;  // [slab][row], `width` numbers from slab to slab
  int64_t slabs, width;

  // maximum[i] and the sum of e^(logit - maximum[i]) over all slabs, in their order.
  void find(int64_t rows, T* maximum, T* sum) const {
    using V = Vec<T>;
    for (int64_t i = 0; i < rows; i += V::lanes) {
      V top = V::load(maxima + i), all{};
      for (int64_t s = 1; s < slabs; ++s) top = larger_of(V::load(maxima + s * width + i), top);
      for (int64_t s = 0; s < slabs; ++s)
        all = all + V::load(sums + s * width + i) * exp_of_negative<T>(V::load(maxima + s * width + i) - top);
      top.store(maximum + i), all.store(sum + i);
    }
  }

  // factors[i] = of_softmax[i] · e^(slab's maximum - maximum[i]) / sum[i]
  void factors(int64_t slab, int64_t rows, const T* maximum, const T* sum, const T* of_softmax, T* factors) const {
    using V = Vec<T>;
    for (int64_t i = 0; i < rows; i += V::lanes) {
      V e = exp_of_negative<T>(V::load(maxima + slab * width + i) - V::load(maximum + i));
      (e / V::load(sum + i) * V::load(of_softmax + i, int(rows - i))).store(factors + i);
    }
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
