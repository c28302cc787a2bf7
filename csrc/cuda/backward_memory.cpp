#include "backward_memory.h"

#include <algorithm>

namespace fastrnn::cuda {

namespace {

template <class T>
int64_t chunk_steps(const Sequence<T>& s) {
  if (s.p.recompute) return steps_per_checkpoint(s.batch);
  int64_t row_bytes = s.input_width * int64_t(sizeof(T));
  if (s.cell.normalized) row_bytes += s.vectors_row() * int64_t(sizeof(Accumulated<T>));  // which is more than half
  return std::clamp<int64_t>(chunk_bytes.gradients / (row_bytes * s.batch), 1, s.p.times);
}

// Where to add up a gradient of `count` numbers: in the gradient itself, if that is wide enough and in their order.
template <class T>
Accumulated<T>* sums_for(void* gradient, int64_t count, Scratch& scratch, bool reordered = false) {
  using A = Accumulated<T>;
  if (!gradient || (std::is_same_v<T, A> && !reordered)) return static_cast<A*>(gradient);
  return scratch.take<A>(count);
}

}  // namespace

template <class T>
BackwardMemory<T>::BackwardMemory(const Sequence<T>& s, Scratch& scratch)
    : steps_per_chunk(chunk_steps(s)), rows(std::min(steps_per_chunk * s.batch, s.rows({0, s.p.times}))),
      team(backward_team(s.cell, s.precision.number, s.hidden, s.batch, s.regime())) {
  const int64_t units = s.batch * s.hidden;
  dh = scratch.take<A>(s.batch * s.output);
  if (s.cell.carries_c) dc = scratch.take<A>(units);
  if (s.cell.gated) dgated = scratch.take<A>(units);
  if (s.recurrent_mask) dmasked = scratch.take<A>(s.batch * s.output);
  if (s.projected()) dunprojected = scratch.take<A>(units), doutput = scratch.take<T>(rows * s.output);
  if (s.p.device_resets.data && s.p.dstart_h) left_h = scratch.take<A>(s.batch * s.output);
  if (s.p.device_resets.data && s.p.dstart_c) left_c = scratch.take<A>(units);
  d_input = scratch.take<T>(rows * s.input_width);
  if (s.cell.separate_gradients || s.heads > 1) d_state = scratch.take<T>(rows * s.state_width);
  h_before = scratch.take<T>(rows * s.output);
  if (s.cell.gated || s.projected()) kept = scratch.take<T>(rows * s.hidden);
  if (!s.matrix_row(s.p.x, s.input)) x = scratch.take<T>(rows * s.input);
  if (s.p.dx.data && !s.matrix_row(s.p.dx, s.input)) dx = scratch.take<T>(rows * s.input);
  const int64_t gates = s.cell.gates_of_state() * s.hidden;
  dw_ih = sums_for<T>(s.p.dw_ih, s.input_width * s.input, scratch);
  dw_hh = sums_for<T>(s.p.dw_hh, gates * s.depth, scratch, s.heads > 1);
  db_ih = sums_for<T>(s.p.db_ih, s.input_width, scratch);
  db_hh = sums_for<T>(s.p.db_hh, gates, scratch, s.heads > 1 && !s.cell.normalized);
  dw_hr = sums_for<T>(s.p.dw_hr, s.output * s.hidden, scratch);
  dstart_h = sums_for<T>(s.p.dstart_h, s.output, scratch);
  dstart_c = sums_for<T>(s.p.dstart_c, s.hidden, scratch);
  bool vectors_wanted = s.cell.normalized;  // a step reads it again
  for (int k = 0; k < s.cell.vectors; ++k) {
    dvectors[k] = sums_for<T>(s.p.dvectors[k], s.cell.vector_size(k) * s.hidden, scratch);
    vectors_wanted |= s.p.dvectors[k] != nullptr;
  }
  if (vectors_wanted) d_vectors = scratch.take<A>(rows * s.vectors_row());
  if (team.exchanged) exchange = scratch.take<char>(team.exchanged), flags = scratch.take<unsigned>(team.flags);
  if (s.p.recompute) again.emplace(s, scratch);
  if (s.heads > 1) w_hh = again ? again->w_hh : scratch.take<T>(s.state_width * s.depth);
  if (!again) return;
  saved = scratch.take<A>(rows * s.saved_row);
  if (s.has_state()) carried = scratch.take<A>(units);
  h = scratch.take<T>(s.batch * s.output);
}

template struct BackwardMemory<double>;
template struct BackwardMemory<float>;
template struct BackwardMemory<__nv_bfloat16>;
template struct BackwardMemory<__half>;

size_t backward_bytes(const Problem<void>& problem, Precision precision) {
  return for_number(precision.number, [&]<class T>() {
    Scratch counted;
    BackwardMemory<T>(Sequence<T>{problem, precision}, counted);
    return counted.bytes();
  });
}

}  // namespace fastrnn::cuda
