// The LSTM with forget gate: Hochreiter and Schmidhuber (1997); Gers, Schmidhuber and Cummins (2000).
#pragma once
#include "cell.h"

namespace fastrnn {

struct LSTM {
  static constexpr const char *name = "lstm", *layer_norm_name = "layer_norm_lstm";
  static constexpr int slots = 4;  // i, f, g, o
  static constexpr int input_gates = 4, recurrent_gates = 4;
  static constexpr int input_slots[] = {0, 1, 2, 3}, recurrent_slots[] = {0, 1, 2, 3};
  static constexpr bool gated = false, carries_c = true, reads_h = false;
  static constexpr int saves = 5, vectors = 0;  // i, f, g, o, c
  static constexpr int output_gate = 3;         // h = o tanh(c)
  static constexpr bool onednn = true;

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V*, V, V& c, V& h, V* save) {
    V i = sigmoid(a[0]), f = sigmoid(a[1]), g = tanh(a[2]), o = sigmoid(a[3]);
    c = f * c + i * g;
    h = o * tanh(c);
    save[0] = i, save[1] = f, save[2] = g, save[3] = o, save[4] = c;
  }

  // tanh(c) is computed again: that is cheaper than a sixth number to write and read.
  template <class V>
  FASTRNN_CELL void backward(const V* save, const V*, V, V, V c_prev, V dh, V& dc, V* da, V*, V& dh_prev) {
    V i = save[0], f = save[1], g = save[2], o = save[3], tanh_c = tanh(save[4]);
    dc = dc + dh * o * (1 - tanh_c * tanh_c);
    da[0] = dc * g * i * (1 - i);
    da[1] = dc * c_prev * f * (1 - f);
    da[2] = dc * i * (1 - g * g);
    da[3] = dh * tanh_c * o * (1 - o);
    dc = dc * f;
    dh_prev = V{};
  }
};

}  // namespace fastrnn
