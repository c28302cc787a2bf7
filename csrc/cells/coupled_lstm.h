// The LSTM with coupled gates, CIFG: what is forgotten makes room for what comes in, f = 1 - i. Greff et al. (2017),
// arXiv:1503.04069, section 3. Three gates, three quarters of the weights.
#pragma once
#include "cell.h"

namespace fastrnn {

struct CoupledLSTM {
  static constexpr const char* name = "coupled_lstm";
  static constexpr int slots = 3;  // i, g, o
  static constexpr int input_gates = 3, recurrent_gates = 3;
  static constexpr int input_slots[] = {0, 1, 2}, recurrent_slots[] = {0, 1, 2};
  static constexpr bool gated = false, carries_c = true, reads_h = false;
  static constexpr int saves = 4, vectors = 0;  // i, g, o, c

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V*, V, V& c, V& h, V* save) {
    V i = sigmoid(a[0]), g = tanh(a[1]), o = sigmoid(a[2]);
    c = (1 - i) * c + i * g;  // not c + i (g - c): an infinite c less itself is NaN
    h = o * tanh(c);
    save[0] = i, save[1] = g, save[2] = o, save[3] = c;
  }

  template <class V>
  FASTRNN_CELL void backward(const V* save, const V*, V, V, V c_prev, V dh, V& dc, V* da, V*, V& dh_prev) {
    V i = save[0], g = save[1], o = save[2], tanh_c = tanh(save[3]);
    dc = dc + dh * o * (1 - tanh_c * tanh_c);
    da[0] = (dc * g - dc * c_prev) * i * (1 - i);
    da[1] = dc * i * (1 - g * g);
    da[2] = dh * tanh_c * o * (1 - o);
    dc = dc * (1 - i);
    dh_prev = V{};
  }
};

}  // namespace fastrnn
