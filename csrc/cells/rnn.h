// The simple recurrent network of Elman (1990): h = act(W_ih x + b_ih + W_hh h_prev + b_hh).
// Each activation's derivative is a function of its value, so nothing is saved beyond the output itself. `backward`
// takes dL/dh to dL/da.
#pragma once
#include "cell.h"

namespace fastrnn {

struct Tanh {
  static constexpr const char *name = "rnn_tanh", *layer_norm_name = "layer_norm_rnn_tanh";
  template <class V>
  FASTRNN_CELL V value(V a) {
    return tanh(a);
  }
  template <class V>
  FASTRNN_CELL V backward(V dh, V h) {
    return dh * (1 - h * h);
  }
};

struct Sigmoid {
  static constexpr const char *name = "rnn_sigmoid", *layer_norm_name = "layer_norm_rnn_sigmoid";
  template <class V>
  FASTRNN_CELL V value(V a) {
    return sigmoid(a);
  }
  template <class V>
  FASTRNN_CELL V backward(V dh, V h) {
    return dh * (h * (1 - h));
  }
};

struct Relu {
  static constexpr const char *name = "rnn_relu", *layer_norm_name = "layer_norm_rnn_relu";
  template <class V>
  FASTRNN_CELL V value(V a) {
    return relu(a);
  }
  template <class V>
  FASTRNN_CELL V backward(V dh, V h) {
    return relu_backward(dh, h);
  }
};

template <class Activation>
struct RNN {
  static constexpr const char *name = Activation::name, *layer_norm_name = Activation::layer_norm_name;
  static constexpr int slots = 1;
  static constexpr int input_gates = 1, recurrent_gates = 1;
  static constexpr int input_slots[input_gates] = {0}, recurrent_slots[recurrent_gates] = {0};
  static constexpr bool gated = false, carries_c = false, reads_h = false;
  static constexpr int saves = 0, vectors = 0;

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V*, V, V&, V& h, V*) {
    h = Activation::value(a[0]);
  }

  template <class V>
  FASTRNN_CELL void backward(const V*, const V*, V h, V, V, V dh, V&, V* da, V*, V& dh_prev) {
    da[0] = Activation::backward(dh, h);
    dh_prev = V{};
  }
};

}  // namespace fastrnn
