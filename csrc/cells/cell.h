// What a recurrent cell is.
//
// A cell is the pointwise mathematics of one time step, forward and backward (BPTT), written once as templates over V,
// "a vector of numbers": a SIMD register on the CPU, a single float in a CUDA thread. V brings + - * and the functions
// sigmoid, tanh, relu and relu_backward. The matrix products, the loop over time, threads, lengths and directions are
// elsewhere and know nothing about gates: they ask the cell.
//
//   name              what operators and Python call it
//   slots             numbers per hidden unit that the matrix products deliver to the cell (its pre-activations)
//   input_slots       where gate g of W_ih·x goes, in the order in which torch stacks the gates in weight_ih
//   recurrent_slots   where gate g of W_hh·h goes, the first `recurrent_gates` gates of weight_hh
//   gated             a second product follows in the same step: the rest of weight_hh times gate(h) (the first GRU)
//   saves             numbers per hidden unit that the forward step leaves for the backward step
//   carries_c         there is a second state c besides h (LSTM); the forward step saves it last
//   vectors           parameters of the cell itself, a number for each unit; `vector_names` has their names. Where
//   there
//                     are `vector_sizes`, that many numbers for each unit
//   reads_h           the pointwise part itself reads h_{t-1} (GRU)
//   onednn            torch's layers of it run by oneDNN, which returns other dtypes under autocast; only where it is
//                     true
//
//   forward(a, w, h_prev, c, h, save)                   a: pre-activations; w: the vectors; c: in c_{t-1}, out c_t;
//                                                       h: out h_t
//   backward(save, w, h, h_prev, c_prev, dh, dc, da, dw, dh_prev)
//                                                       dh: dL/dh_t; dc: in dL/dc_t, out dL/dc_{t-1};
//                                                       da: out dL/da; dw: out dL/dw of this row and step, which
//                                                       the loops add up; dh_prev: out the part of dL/dh_{t-1} that
//                                                       does not pass through weight_hh
//   gate(a, h_prev), gate_backward(save, h_prev, dgated, da, dh_prev)           only where `gated`
#pragma once

#if defined(__CUDACC__)
#define FASTRNN_CELL __host__ __device__ static inline
#else
#define FASTRNN_CELL [[gnu::always_inline]] static inline
#endif

namespace fastrnn {

// Whether a cell is of layer_norm.h.
template <class Cell>
constexpr bool normalizes = requires { typename Cell::Plain; };

// Of what a cell saves, the first numbers are those of its pointwise part, c last.
template <class Cell>
constexpr int pointwise_saves() {
  if constexpr (normalizes<Cell>)
    return Cell::Plain::saves;
  else
    return Cell::saves;
}

// Whether that part saves nothing: it goes backward from the cell's h. Where zoneout makes another of it, the cell's is
// saved after all.
template <class Cell>
constexpr bool goes_back_from_h() {
  return pointwise_saves<Cell>() == 0;
}

// The same of a cell that is known when the program runs: what code that is not a template is told of it.
struct CellDescription {
  const char* name;
  int slots, input_gates, recurrent_gates;
  bool gated, carries_c, reads_h;
  int saves, vectors;
  const char* const* vector_names;
  const int* vector_sizes;  // null: one number for each unit
  bool separate_gradients;  // the gates' gradients are not the same for W_ih and W_hh

  bool goes_back_from_h;

  bool normalized;  // its products are normalized (layer_norm.h): plain cells' loops do not run it

  bool onednn;  // torch's layers of it run by oneDNN

  // What a cell saves can be found again, where it saves anything (cpu/recompute.h knows plain cells only).
  bool recomputable() const { return saves > 0 && !normalized; }

  int vector_size(int k) const { return vector_sizes ? vector_sizes[k] : 1; }
  int gates_of_state() const { return recurrent_gates + gated; }  // in weight_hh; weight_ih has input_gates
  // h = W_hr m may follow the cell only where the cell itself does not read h, which then has another size.
  bool projectable() const { return carries_c && !reads_h && !normalized; }
};

}  // namespace fastrnn
