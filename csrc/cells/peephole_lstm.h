// The LSTM with peephole connections: Gers and Schmidhuber (2000). The gates see c as well, each unit its own: i and f
// c_{t-1}, o c_t, through weights that are vectors.
#pragma once
#include "cell.h"

namespace fastrnn {

struct PeepholeLSTM {
  static constexpr const char* name = "peephole_lstm";
  static constexpr int slots = 4;  // i, f, g, o
  static constexpr int input_gates = 4, recurrent_gates = 4;
  static constexpr int input_slots[] = {0, 1, 2, 3}, recurrent_slots[] = {0, 1, 2, 3};
  static constexpr bool gated = false, carries_c = true, reads_h = false;
  static constexpr int saves = 5, vectors = 3;  // i, f, g, o, c
  static constexpr const char* vector_names[] = {"weight_ci", "weight_cf", "weight_co"};

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V* w, V, V& c, V& h, V* save) {
    V i = sigmoid(a[0] + w[0] * c), f = sigmoid(a[1] + w[1] * c), g = tanh(a[2]);
    c = f * c + i * g;
    V o = sigmoid(a[3] + w[2] * c);
    h = o * tanh(c);
    save[0] = i, save[1] = f, save[2] = g, save[3] = o, save[4] = c;
  }

  template <class V>
  FASTRNN_CELL void backward(const V* save, const V* w, V, V, V c_prev, V dh, V& dc, V* da, V* dw, V& dh_prev) {
    V i = save[0], f = save[1], g = save[2], o = save[3], c = save[4], tanh_c = tanh(c);
    da[3] = dh * tanh_c * o * (1 - o);
    dc = dc + dh * o * (1 - tanh_c * tanh_c) + da[3] * w[2];
    da[0] = dc * g * i * (1 - i);
    da[1] = dc * c_prev * f * (1 - f);
    da[2] = dc * i * (1 - g * g);
    dw[0] = da[0] * c_prev, dw[1] = da[1] * c_prev, dw[2] = da[3] * c;
    dc = dc * f + da[0] * w[0] + da[1] * w[1];
    dh_prev = V{};
  }
};

}  // namespace fastrnn
