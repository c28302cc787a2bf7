// What the time loop of a cell that comes when the program runs is asked to do: one direction of one layer. No tensor.
//
// The product of the input is done before, and what sums over time (gradients of weights and vectors) after: this is
// the loop alone, W_hh · h and the cell's programs. N rows: those of all times, one after the other.
#pragma once
#include "program.h"

namespace fastrnn {

constexpr int most_states = 16, most_gates = 32, most_numbers = 32;

template <class T>
struct CellLoop {
  // The gates of a row of N: first the R recurrent ones in the order of W_hh, then those of the input alone.
  int gates, recurrent_gates, input_gates, states, vectors, per_step, saves;
  int input_slots[most_gates];  // the gate that each gate of `a` goes to
  // Of the backward program (fastrnn/_cell/programs.py): what it reads beside what is saved.
  bool reads_h, reads_y;
  int stored_states, stored[most_states];
  Program step, gradient;

  bool reverse;
  int threads;
  int64_t times, batch, hidden;
  // Row b of time t is row first[t] + b of N; rows 0 … active[t] - 1 are active, longest first.
  const int64_t *first, *active;
  const uint8_t* resets;  // (N): whether a row begins anew before this step. Null: nowhere.

  const T* a;            // (N, input_gates · hidden): W_ih x + b
  const T *w_hh, *bias;  // (recurrent_gates · hidden, hidden); what other recurrent gates begin with, per gate
  const T* vector[most_numbers];
  const T* numbers[most_numbers];  // per step, (N)
  const T* begin[most_states];     // (hidden): what rows begin with, where no state is given and after resets
  const T* initial[most_states];   // (batch, hidden) or null
  T* every[most_states];           // (N, hidden): states after every step; of others than h it may be null
  T* saved;                        // (N, saves · hidden), null at inference
  T* last[most_states];            // (batch, hidden)

  // Backward only. Null: none given.
  const T *d_every[most_states], *d_last[most_states];
  T* d_gates;                 // (N, gates · hidden)
  T* d_vectors;               // (N, vectors · hidden)
  T* d_numbers;               // (N, per_step)
  T* h_before;                // (N, hidden): what W_hh multiplied
  T* d_initial[most_states];  // (batch, hidden)
};

}  // namespace fastrnn
