// The time loop forward on a GPU. For each chunk of time x · W_ihᵀ for all its rows in one product; then step by step
// h_{t-1} · W_hhᵀ and the cell, in one pointwise kernel; or all steps in one persistent kernel.
#pragma once
#include "persistent.h"
#include "scratch.h"
#include "sequence.h"

namespace fastrnn::cuda {

template <class T>
struct ForwardMemory {
  using A = Accumulated<T>;
  const int64_t steps_per_chunk;
  const Team team;  // of the persistent kernel, if that runs
  T* x = nullptr;   // of a chunk, if its rows have to be copied
  A *from_input, *from_state, *from_gated = nullptr;
  A* state = nullptr;
  T *gated = nullptr, *unprojected = nullptr;
  T* w_hh = nullptr;                         // of several heads, by head
  T *read = nullptr, *projection = nullptr;  // h as W_hh reads it, if masked; W_hr m, if zoneout keeps a part of h
  void* exchange = nullptr;                  // where blocks of a team that share no memory tell each other
  unsigned* flags = nullptr;

  ForwardMemory(const Sequence<T>& sequence, Scratch& scratch);
};

template <class T>
class Forward {
 public:
  using A = Accumulated<T>;

  // Where the loop is: h (batch, output_size), in the first h_{t-1} of every row, out its last h_t; and (batch,
  // hidden_size) what the cell itself carries: c of an LSTM, h of a GRU, null for others.
  struct State {
    T* h;
    A* carried;
  };

  // Where what some times compute goes: y, c after every step, and what backward needs, from its first row on. Each may
  // be null.
  struct Results {
    Rows<void> y, every_c;
    A* saved;
  };

  Forward(const Sequence<T>& sequence, const ForwardMemory<T>& memory, const Queue& queue)
      : s(sequence), memory(memory), queue(queue) {}

  // All times, as the problem says.
  void run();
  void run(Range times, const State& state, const Results& results);

 private:
  void run_chunk(Range chunk, const State& state, const Results& results);
  void step(ForwardStep& p, const State& state, T* y, int64_t y_row);
  void project(const ForwardStep& p, const State& state, T* y, int64_t y_row);
  // What both ways of taking steps are told about the first of a chunk in memory.
  ForwardStep operands(Range chunk, const State& state, const Results& results) const;

  const Sequence<T>& s;
  const ForwardMemory<T>& memory;
  const Queue& queue;
};

}  // namespace fastrnn::cuda
