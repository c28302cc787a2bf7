// Sums over a row, which the cells with layer normalization (../cells/layer_norm.h) need between product and cell. So a
// row's cell is one thread's. Where there are fewer rows than threads could use, they share the units of the products.
#pragma once
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
FASTRNN_INLINE Vec<T> broadcast(T x) {
  return typename Vec<T>::Register{} + x;
}
template <class T>
FASTRNN_INLINE T sum_of_lanes(Vec<T> v) {
  T sum = 0;
  for (int i = 0; i < Vec<T>::lanes; ++i) sum += v.v[i];
  return sum;
}

// Base: Sequence, or BackwardStates.
template <class Cell, class T, class Base>
struct Normalized : Base {
  using S = Base;
  using V = Vec<T>;
  using Plain = typename Cell::Plain;
  using S::p, S::hidden, S::width, S::cell_vectors;

  static constexpr T epsilon = 1e-5;  // added to the variance, as torch.nn.LayerNorm does
  static constexpr int in = Cell::input_gates, recurrent = Cell::recurrent_gates;
  // Where the vectors of a cell begin, in slots of cell_vectors.
  static constexpr int gain_ih = 0, gain_hh = in, gain_c = in + recurrent, bias_c = gain_c + 1;

  using S::S;

  // Calls visit(u, n) for each vector of units: its first unit, and how many there are from it on.
  template <class Visit>
  FASTRNN_INLINE void each_vector(Visit visit) const {
    for (int64_t u = 0; u < hidden; u += V::lanes) visit(u, int(hidden - u));
  }

  // Replaces the numbers of `slots` slots of a row by (x - mean) / σ over all of them. Returns 1/σ.
  FASTRNN_INLINE T normalize(T* row, int slots) const {
    const T count = T(slots) * T(hidden);
    V total{};
    for (int k = 0; k < slots; ++k)
      each_vector([&](int64_t u, int n) { total = total + V::load(row + k * width + u, n); });
    const V mean = broadcast(sum_of_lanes(total) / count);
    V squares{};
    for (int k = 0; k < slots; ++k)
      each_vector([&](int64_t u, int n) {
        T* at = row + k * width + u;
        (V::load(at) - mean).store(at);
        const V difference = V::load(at, n);
        squares = squares + difference * difference;
      });
    T variance = sum_of_lanes(squares) / count + epsilon, unit = 1;
    if (variance == T(__builtin_inf())) {
      unit = sizeof(T) == 4 ? T(0x1p-80) : T(0x1p-640);
      variance = shrink(row, slots, unit) / count;
      // A difference from the mean that was beyond T is not found again: all of the row is NaN, and no number 0.
      if (variance == T(__builtin_inf())) variance = T(__builtin_nan(""));
    }
    const T scale = T(1 / __builtin_sqrt(variance));
    for (int k = 0; k < slots; ++k)
      each_vector([&](int64_t u, int) {
        T* at = row + k * width + u;
        (V::load(at) * broadcast(scale)).store(at);
      });
    return scale * unit;
  }

  // Multiplies numbers whose squares are beyond T by `unit`. Returns the sum of the squares then. Without it σ would be
  // infinite, and all of them 0.
  [[gnu::noinline]] T shrink(T* row, int slots, T unit) const {
    V squares{};
    for (int k = 0; k < slots; ++k)
      each_vector([&](int64_t u, int n) {
        T* at = row + k * width + u;
        (V::load(at) * broadcast(unit)).store(at);
        const V number = V::load(at, n);
        squares = squares + number * number;
      });
    return sum_of_lanes(squares);
  }

  // What this thread computes. Where threads own rows: all units of its rows, and no thread waits. Else: its share of
  // the units in a product, then a barrier, then its share of the rows in the cell, then another barrier.
  FASTRNN_INLINE Range my_units(const Team& team) const { return this->my_vectors(team, this->vectors); }
  FASTRNN_INLINE Range my_cells(const Team& team, Range rows) const {
    if (S::plan.by_rows) return rows;
    const Range share = team.share(rows.size());
    return {rows.begin + share.begin, rows.begin + share.end};
  }

  FASTRNN_INLINE V vector(int slot, int64_t u) const { return V::load(cell_vectors + slot * width + u); }
};

// The gradient of x through y = (x - mean x) / σ, from that of y: (dy - mean(dy) - y mean(dy y)) / σ, the means over
// all numbers of the row. Collects the two sums in one pass, then gives dx in another.
template <class T>
struct NormGradient {
  using V = Vec<T>;
  V dy_sum{}, dy_y_sum{};

  FASTRNN_INLINE void add(V dy, V y) { dy_sum = dy_sum + dy, dy_y_sum = dy_y_sum + dy * y; }

  FASTRNN_INLINE void divide(T count, T one_over_deviation) {
    dy_sum = broadcast(sum_of_lanes(dy_sum) / count), dy_y_sum = broadcast(sum_of_lanes(dy_y_sum) / count);
    scale = broadcast(one_over_deviation);
  }
  FASTRNN_INLINE V dx(V dy, V y) const { return (dy - dy_sum - y * dy_y_sum) * scale; }

 private:
  V scale{};
};

}  // namespace fastrnn::FASTRNN_TARGET
