// The three products of a window: the dot products of its input rows with its output rows, and the two sums of rows
// that the gradient is made of. A row is a whole number of registers.
#pragma once
#include "../cpu/activations.h"

namespace fastrnn::FASTRNN_TARGET {

using Floats = Vec<float>;

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

// One register of dot products: lane 4 i + j is inputs[i] . outputs[j].
constexpr int tile_outputs = 4, tile_inputs = Floats::lanes / tile_outputs;

template <int Inputs, int Outputs>
FASTRNN_INLINE Floats::Register dot_products(const float* const* inputs, const float* const* outputs, int64_t width) {
  Floats sum[Floats::lanes];
#pragma GCC unroll 16
  for (auto& s : sum) s = Floats::Register{};
  for (int64_t k = 0; k < width; k += Floats::lanes) {
    Floats output[Outputs];
#pragma GCC unroll 4
    for (int j = 0; j < Outputs; ++j) output[j] = Floats::load(outputs[j] + k);
#pragma GCC unroll 4
    for (int i = 0; i < Inputs; ++i) {
      const Floats input = Floats::load(inputs[i] + k);
#pragma GCC unroll 4
      for (int j = 0; j < Outputs; ++j) {
        Floats& s = sum[i * tile_outputs + j];
        s = s + input * output[j];
      }
    }
  }
  return sum_each<float>(sum).v;
}

// target += sum over r of factors[r * stride] * rows[r], columns begin to end.
inline void add_rows(float* target, const float* const* rows, const float* factors, int64_t stride, int count,
                     int64_t begin, int64_t end) {
  constexpr int at_once = 8;  // chains of 8 multiply-adds; their factors stay in registers
  for (int first = 0; first < count; first += at_once)
    with_constant<at_once>(count - first, [&](auto constant) __attribute__((always_inline)) {
      constexpr int n = decltype(constant)::value;
      Floats::Register factor[n];
#pragma GCC unroll 8
      for (int r = 0; r < n; ++r) factor[r] = Floats::Register{} + factors[(first + r) * stride];
      for (int64_t k = begin; k < end; k += Floats::lanes) {
        Floats::Register sum = Floats::load(target + k).v;
#pragma GCC unroll 8
        for (int r = 0; r < n; ++r) sum += factor[r] * Floats::load(rows[first + r] + k).v;
        Floats(sum).store(target + k);
      }
    });
}

// Outputs whose rows and sums stay in registers together.
constexpr int outputs_at_once = Floats::lanes == 16 ? 8 : 6;

// target[i] += sum over j of g[i][j] * output[j], and output[j] += sum over i of g[i][j] * input[i], all with the
// output rows as they were. input and target may be the same rows if there are at most outputs_at_once outputs.
inline void descend(const float* const* input, float* const* target, int inputs, float* const* output, int outputs,
                    const float* g, int64_t stride, int64_t begin, int64_t end) {
  for (int first = 0; first < outputs; first += outputs_at_once)
    with_constant<outputs_at_once>(outputs - first, [&](auto constant) __attribute__((always_inline)) {
      constexpr int n = decltype(constant)::value;
      for (int64_t k = begin; k < end; k += Floats::lanes) {
        Floats::Register old[n], sum[n];
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) sum[j] = old[j] = Floats::load(output[first + j] + k).v;
        for (int i = 0; i < inputs; ++i) {
          const float* factors = g + i * stride + first;
          const Floats::Register h = Floats::load(input[i] + k).v;
          Floats::Register moved = Floats::load(target[i] + k).v;
#pragma GCC unroll 8
          for (int j = 0; j < n; ++j) {
            const Floats::Register factor = Floats::Register{} + factors[j];
            moved += factor * old[j];
            sum[j] += factor * h;
          }
          Floats(moved).store(target[i] + k);
        }
#pragma GCC unroll 8
        for (int j = 0; j < n; ++j) Floats(sum[j]).store(output[first + j] + k);
      }
    });
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
