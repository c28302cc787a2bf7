// The three products of a window: the dot products of input rows and output rows, and the two sums of rows that form
// the gradient. A row is a whole number of registers.
#pragma once
#include "../../cpu/activations.h"
#include "train.h"

namespace fastrnn::FASTRNN_TARGET {

using Floats = Vec<float>;

using word2vec::line;

template <int N>
struct Constant {
  static constexpr int value = N;
};

// f(Constant<n>), for n from 1 to Max.
template <int Max, class F>
FASTRNN_INLINE void with_constant(int n, F f) {
  if constexpr (Max > 1)
    if (n < Max) return with_constant<Max - 1>(n, f);
  f(Constant<Max>{});
}

// The shape of a register of dot products: lane i * outputs + j is the product of input i and output j. Several inputs
// share the loads of the outputs; with CBOW's single input there is room for more outputs.
template <bool several_inputs>
struct TileOf {
  static constexpr int outputs = several_inputs || Floats::lanes < 8 ? 4 : 8;
  static constexpr int inputs = several_inputs ? Floats::lanes / outputs : 1;
};

template <class Tile, int Inputs, int Outputs>
FASTRNN_INLINE Floats::Register dot_products(const float* const* inputs, const float* const* outputs, int64_t width) {
  Floats sum[Floats::lanes];
#pragma GCC unroll 16
  for (auto& s : sum) s = Floats::Register{};
  for (int64_t k = 0; k < width; k += Floats::lanes) {
    Floats output[Outputs];
#pragma GCC unroll 8
    for (int j = 0; j < Outputs; ++j) output[j] = Floats::load(outputs[j] + k);
#pragma GCC unroll 4
    for (int i = 0; i < Inputs; ++i) {
      const Floats input = Floats::load(inputs[i] + k);
#pragma GCC unroll 8
      for (int j = 0; j < Outputs; ++j) {
        Floats& s = sum[i * Tile::outputs + j];
        s = s + input * output[j];
      }
    }
  }
  return sum_each<float>(sum).v;
}

// The sum of some rows, times a factor.
inline void sum_rows(float* target, const float* const* rows, int count, float factor, int64_t width) {
  for (int64_t k = 0; k < width; k += Floats::lanes) {
    Floats::Register sum{};
    for (int r = 0; r < count; ++r) sum += Floats::load(rows[r] + k).v;
    Floats(factor * sum).store(target + k);
  }
}

// Number of outputs whose rows and sums fit in registers.
constexpr int outputs_at_once = Floats::lanes == 16 ? 8 : 6;

// A gradient step on one register's width of columns: calls move(i, sum over j of g[i][j] * output[j]) with the old
// output rows, and adds to output[j] the sum over i of g[i][j] * input(i).
template <int Outputs, class Input, class Move>
FASTRNN_INLINE void gradient_step(int inputs, Input input, Move move, float* const* output, int64_t column,
                                  const float* g, int64_t stride) {
  Floats::Register old[Outputs], sum[Outputs];
#pragma GCC unroll 8
  for (int j = 0; j < Outputs; ++j) sum[j] = old[j] = Floats::load(output[j] + column).v;
  for (int i = 0; i < inputs; ++i) {
    const float* factors = g + i * stride;
    const Floats::Register h = input(i);
    Floats::Register moved{};
#pragma GCC unroll 8
    for (int j = 0; j < Outputs; ++j) {
      const Floats::Register factor = Floats::Register{} + factors[j];
      moved += factor * old[j];
      sum[j] += factor * h;
    }
    move(i, moved);
  }
#pragma GCC unroll 8
  for (int j = 0; j < Outputs; ++j) Floats(sum[j]).store(output[j] + column);
}

// For a dot product x and a sign, with z = sign * x: the probability of being wrong, sigmoid(-z), and the loss,
// -log sigmoid(z) = log(1 + e^-z). With t = e^-|z|, log(1 + t) = 2 artanh(s) for s = t / (2 + t) <= 1/3.
struct Outcome {
  Floats::Register wrong, loss;
};

FASTRNN_INLINE Outcome outcome(Floats::Register z) {
  using Register = Floats::Register;
  Register magnitude = absolute<float>(z), zero{};
  auto e = exponential<float>(-at_most<float>(magnitude, ExpConstants<float>::limit));
  Register t = e.scale * (e.r * (e.r * e.series + 1) + 1);
  Register right = reciprocal(t + 1), s = t * reciprocal(t + 2), square = s * s;
  Register series = zero + 1 / 15.f;  // next term: 3^-16 / 17 = 1.4e-9
#pragma GCC unroll 7
  for (int k = 13; k >= 1; k -= 2) series = series * square + 1.f / k;
  return {z < zero ? right : t * right, 2 * s * series + (z < zero ? magnitude : zero)};
}

}  // namespace fastrnn::FASTRNN_TARGET
