// The time loop backward on a GPU: back-propagation through time. A step turns dL/dh_t into dL/d(pre-activations), then
// into dL/dh_{t-1} through W_hh. What needs no order in time waits for the end of a chunk and is one product each:
// dx = dgates · W_ih, dW_ih = dgatesᵀ · x, dW_hh = dgatesᵀ · h_{t-1}.
#pragma once
#include "backward_memory.h"

namespace fastrnn::cuda {

template <class T>
class Backward {
 public:
  using A = Accumulated<T>;

  Backward(const Sequence<T>& sequence, const BackwardMemory<T>& memory, const Queue& queue)
      : s(sequence), memory(memory), queue(queue) {}
  void run();

 private:
  void compute_again(int64_t piece, Range times);
  void run_chunk(Range chunk);
  void step(int64_t t, Range chunk, BackwardStep p);
  // dL/d(what a projection multiplied) of time t.
  void through_projection(int64_t t, Range chunk, const BackwardStep& p);
  void products_over_time(Range chunk, bool first);
  void sums_of_normalized(Range chunk, bool first);
  void input_gradient(Range chunk);
  void initial_gradients();
  void start_gradient(A* sums, const A* left, const A* d_state, int64_t columns);
  void round_sums();

  // What both ways of taking steps are told about the first of a chunk in memory.
  BackwardStep operands(Range chunk) const;
  // Before time t: h, and c with the numbers from one of its rows to the next; null where no row has one.
  const T* h_before(int64_t t) const;
  struct StateBefore {
    const A* data;
    int64_t rows, row;
  };
  StateBefore c_before(int64_t t) const;
  // The gates' gradients as W_hh wants them, and the numbers of a row.
  T* dgates() const { return memory.d_state ? memory.d_state : memory.d_input; }
  int64_t dgates_row() const { return memory.d_state ? s.state_width : s.input_width; }
  A* saved(int64_t t) const;

  const Sequence<T>& s;
  const BackwardMemory<T>& memory;
  const Queue& queue;
  Range recomputed{0, 0};         // the times that memory.saved is of
  const A* checkpoint = nullptr;  // before them
};

}  // namespace fastrnn::cuda
