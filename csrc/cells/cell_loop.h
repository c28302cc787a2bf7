// What the time loop of a cell that comes when the program runs is asked to do: one direction of one layer. No tensor.
//
// N rows: those of all times, one after the other.
#pragma once
#include "program.h"

namespace fastrnn {

constexpr int most_states = 16, most_gates = 32, most_numbers = 32;

template <class T>
struct CellLoop {
  // The gates of a row of N: first the R recurrent ones in the order of W_hh, then those of the input alone.
  int gates, recurrent_gates, input_gates, states, vectors, per_step, saves, matrices;
  int input_slots[most_gates];  // which of the gates of a row each of W_ih is
  // Of the backward program (fastrnn/_cell/programs.py): what it reads beside what is saved.
  bool reads_h, reads_y;
  int stored_states, stored[most_states];
  Program step, gradient;
  // What the backward program returns for the gradients of matrices, after those of gates and vectors; and of each
  // product of a step where the rows lie whose outer products are added up: see fastrnn/_cell/programs.py.
  int factors, products;
  struct {
    int matrix, left, right;
  } product[most_products];

  bool reverse;
  int threads;
  int64_t times, batch, hidden;
  // Row b of time t is row first[t] + b of N; rows 0 … active[t] - 1 are active, longest first.
  const int64_t *first, *active;
  const uint8_t* resets;  // (N): whether a row begins anew before this step. Null: nowhere.

  int64_t input_size;
  const T* x;            // (N, input_size)
  const T *w_ih, *b_ih;  // (input_gates · hidden, input_size); biases may be null
  int64_t heads = 1;
  const T *w_hh, *b_hh;  // (recurrent_gates · hidden, hidden / heads)
  const T* vector[most_numbers];
  const T* matrix[most_matrices];  // (hidden, hidden / heads)
  const T* numbers[most_numbers];  // per step, (N)
  const T* begin[most_states];     // (hidden): what rows begin with, where no state is given and after resets
  const T* initial[most_states];   // (batch, hidden) or null
  T* every[most_states];           // (N, hidden): states after every step; of others than h it may be null
  T* saved;                        // (N, saves · hidden), null at inference
  T* last[most_states];            // (batch, hidden)

  // Backward only. Null: none given, or not wanted.
  const T *d_every[most_states], *d_last[most_states];
  T* d_numbers;  // (N, per_step)
  T* d_x;        // (N, input_size)
  T *d_w_ih, *d_w_hh, *d_b_ih, *d_b_hh, *d_vector[most_numbers], *d_matrix[most_matrices];
  T* d_initial[most_states];  // (batch, hidden)
};

}  // namespace fastrnn
