// A cell with layer normalization: Ba, Kiros and Hinton (2016), arXiv:1607.06450, equations 20 to 22. Both products of
// a step are normalized over all their gates, each has a gain for every gate and unit, and biases follow:
//
//   a = gain_ih ∗ norm(W_ih x) + b_ih + gain_hh ∗ norm(W_hh h_{t-1}) + b_hh      norm(v) = (v − mean v) / σ(v)
//
// and the plain cell goes on from a. Where there is a c, the output reads it normalized: h = o ∗ tanh(gain_c ∗ norm(c)
// + b_c). What sums over a row is cpu/layer_norm_forward.h's and layer_norm_backward.h's; the pointwise part is the
// plain cell's.
#pragma once
#include "cell.h"

namespace fastrnn {

template <class PlainCell>
struct LayerNorm {
  using Plain = PlainCell;
  static_assert(!Plain::gated && Plain::vectors == 0);
  static constexpr const char* name = Plain::layer_norm_name;
  static constexpr int input_gates = Plain::input_gates, recurrent_gates = Plain::recurrent_gates;
  static constexpr int slots = input_gates + recurrent_gates;  // of both products, before they are normalized
  static constexpr int most_gates = 4;
  static constexpr int input_slots[most_gates] = {0, 1, 2, 3};
  static constexpr int recurrent_slots[most_gates] = {input_gates, input_gates + 1, input_gates + 2, input_gates + 3};
  static constexpr bool gated = false, carries_c = Plain::carries_c, reads_h = Plain::reads_h;
  // The plain cell's, both products normalized, c normalized, 1/σ of each.
  static constexpr int normalized = Plain::saves, normalized_c = normalized + slots;
  static constexpr int deviations = normalized_c + carries_c, saves = deviations + 1;
  static constexpr int vectors = carries_c ? 4 : 2;
  static constexpr const char* vector_names[] = {"weight_norm_ih", "weight_norm_hh", "weight_norm_c", "bias_norm_c"};
  static constexpr int vector_sizes[] = {input_gates, recurrent_gates, 1, 1};
  // What a row adds to gradients: those of the plain cell's pre-activations, which are the biases', then the vectors'.
  static constexpr int sums = Plain::slots + slots + (carries_c ? 2 : 0);
};

}  // namespace fastrnn
