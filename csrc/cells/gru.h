// The gated recurrent unit: Cho et al. (2014), arXiv:1406.1078. Two forms, which differ in where the reset gate r acts.
// Both take h = (1 - z) n + z h_prev; where a text writes h = (1 - z) h_prev + z n, its z is 1 - z here.
#pragma once
#include "cell.h"

namespace fastrnn {

// Reset after the product: n = tanh(W_in x + b_in + r (W_hn h + b_hn)). The form of torch.nn.GRU and cuDNN: one
// product a step. The two halves of n's pre-activation are combined only in the cell, so they keep slots of their own.
struct GRU {
  static constexpr const char *name = "gru", *layer_norm_name = "layer_norm_gru";
  static constexpr int slots = 4;  // r, z, n's input half, n's recurrent half q
  static constexpr int input_gates = 3, recurrent_gates = 3;
  static constexpr int input_slots[] = {0, 1, 2}, recurrent_slots[] = {0, 1, 3};
  static constexpr bool gated = false, carries_c = false, reads_h = true;
  static constexpr int saves = 4, vectors = 0;  // r, z, n, q

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V*, V h_prev, V&, V& h, V* save) {
    V r = sigmoid(a[0]), z = sigmoid(a[1]), q = a[3], n = tanh(a[2] + r * q);
    h = n + z * (h_prev - n);
    save[0] = r, save[1] = z, save[2] = n, save[3] = q;
  }

  template <class V>
  FASTRNN_CELL void backward(const V* save, const V*, V, V h_prev, V, V dh, V&, V* da, V*, V& dh_prev) {
    V r = save[0], z = save[1], n = save[2], q = save[3];
    V dn = dh * (1 - z) * (1 - n * n);
    da[0] = dn * q * r * (1 - r);
    da[1] = dh * (h_prev - n) * z * (1 - z);
    da[2] = dn;
    da[3] = dn * r;
    dh_prev = dh * z;
  }
};

// Reset before the product, as first published and as in most textbooks: n = tanh(W_in x + b_in + W_hn (r h) + b_hn).
// The second product waits for the first, so a step has two.
struct GRUResetBefore {
  static constexpr const char* name = "gru_reset_before";
  static constexpr int slots = 3;  // r, z, n
  static constexpr int input_gates = 3, recurrent_gates = 2;
  static constexpr int input_slots[] = {0, 1, 2}, recurrent_slots[] = {0, 1}, gated_slot = 2;
  static constexpr bool gated = true, carries_c = false, reads_h = true;
  static constexpr int saves = 4, vectors = 0;  // r, z, n, r h_prev

  // Activates r and z in place and returns what the second product multiplies.
  template <class V>
  FASTRNN_CELL V gate(V* a, V h_prev) {
    a[0] = sigmoid(a[0]), a[1] = sigmoid(a[1]);
    return a[0] * h_prev;
  }

  template <class V>
  FASTRNN_CELL void forward(const V* a, const V*, V h_prev, V&, V& h, V* save) {
    V r = a[0], z = a[1], n = tanh(a[2]);
    h = n + z * (h_prev - n);
    save[0] = r, save[1] = z, save[2] = n, save[3] = r * h_prev;
  }

  template <class V>
  FASTRNN_CELL void backward(const V* save, const V*, V, V h_prev, V, V dh, V&, V* da, V*, V& dh_prev) {
    V z = save[1], n = save[2];
    da[1] = dh * (h_prev - n) * z * (1 - z);
    da[2] = dh * (1 - z) * (1 - n * n);
    dh_prev = dh * z;
  }

  template <class V>
  FASTRNN_CELL void gate_backward(const V* save, V h_prev, V dgated, V* da, V& dh_prev) {
    V r = save[0];
    da[0] = dgated * h_prev * r * (1 - r);
    dh_prev = dh_prev + dgated * r;
  }
};

}  // namespace fastrnn
