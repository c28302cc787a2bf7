#include "forward.h"

#include <algorithm>

namespace fastrnn::cuda {

template <class T>
ForwardMemory<T>::ForwardMemory(const Sequence<T>& s, Scratch& scratch)
    : steps_per_chunk(
          std::clamp<int64_t>(chunk_bytes.products / (s.input_width * int64_t(sizeof(A)) * s.batch), 1, s.p.times)),
      team(forward_team(s.cell, s.precision.number, s.hidden, s.batch, s.regime())) {
  const int64_t rows = std::min(steps_per_chunk * s.batch, s.rows({0, s.p.times}));
  if (!s.matrix_row(s.p.x, s.input)) x = scratch.take<T>(rows * s.input);
  from_input = scratch.take<A>(rows * s.input_width);
  from_state = scratch.take<A>(s.batch * s.state_width);
  if (s.has_state()) state = scratch.take<A>(s.batch * s.hidden);
  if (s.cell.gated) from_gated = scratch.take<A>(s.batch * s.hidden), gated = scratch.take<T>(s.batch * s.hidden);
  if (s.projected()) unprojected = scratch.take<T>(s.batch * s.hidden);
  if (s.heads > 1) w_hh = scratch.take<T>(s.state_width * s.depth);
  if (s.recurrent_mask) read = scratch.take<T>(s.batch * s.output);
  if (s.projected() && s.p.zoneout_h.data) projection = scratch.take<T>(s.batch * s.output);
  if (team.exchanged) exchange = scratch.take<char>(team.exchanged), flags = scratch.take<unsigned>(team.flags);
}

template <class T>
void Forward<T>::run() {
  const State state{static_cast<T*>(s.p.hn), memory.state};
  const bool of_c = s.cell.carries_c;
  if (memory.w_hh) s.weights_by_head(memory.w_hh, queue.stream);
  s.begin(state.h, s.h0, s.start_h, s.output, queue.stream);
  if (state.carried) s.begin(state.carried, of_c ? s.c0 : s.h0, of_c ? s.start_c : s.start_h, s.hidden, queue.stream);
  const int64_t steps = s.p.checkpoints ? steps_per_checkpoint(s.batch) : s.p.times;
  for (int64_t n = 0; n < s.pieces(steps); ++n) {
    const Range piece = s.piece(n, steps);
    if (s.p.checkpoints && state.carried)
      check(convert<A, A>(s.checkpoint(n), state.carried, s.batch * s.hidden, queue.stream));
    run(piece, state, {s.p.y, s.p.every_c, s.saved(piece.begin)});
  }
  if (of_c) check(convert(static_cast<T*>(s.p.cn), state.carried, s.batch * s.hidden, queue.stream));
}

template <class T>
void Forward<T>::run(Range times, const State& state, const Results& results) {
  if (memory.read) check(multiply(memory.read, state.h, s.recurrent_mask, s.batch * s.output, queue.stream));
  for (int64_t done = 0; done < times.size(); done += memory.steps_per_chunk) {
    const int64_t steps = std::min(memory.steps_per_chunk, times.size() - done);
    const int64_t begin = s.p.reverse ? times.end - done - steps : times.begin + done;
    const Range chunk{begin, begin + steps};
    queue.products.multiply_transposed({s.rows(chunk), s.input_width, s.input}, {memory.from_input, s.input_width},
                                       s.x(chunk, memory.x, queue.stream), {s.w_ih, s.input});
    Results of_chunk = results;
    if (results.saved) of_chunk.saved += s.rows({times.begin, begin}) * s.saved_row;
    if (s.cell.normalized)
      check(normalize_input(s.cell, s.precision.number, memory.from_input, s.rows(chunk), s.hidden, of_chunk.saved,
                            s.saved_row, queue.stream));
    run_chunk(chunk, state, of_chunk);
  }
}

template <class T>
void Forward<T>::run_chunk(Range chunk, const State& state, const Results& results) {
  const Team& team = memory.team;
  const Rows<void>& y = results.y;
  const ForwardStep first = operands(chunk, state, results);
  if (team.blocks) {
    if (team.flags) check(cudaMemsetAsync(memory.flags, 0, team.flags * sizeof(unsigned), queue.stream));
    const ForwardSequence sequence{first,  chunk.size(), s.batch,         s.step(y),   s.p.reverse,
                                   s.w_hh, team,         memory.exchange, memory.flags};
    check(forward_sequence(sequence, queue.stream));
    return;
  }
  for (int64_t i = 0; i < chunk.size(); ++i) {
    const int64_t t = s.time(chunk, i), row = s.rows({chunk.begin, t});
    T* const y_rows = s.at(y, t);
    ForwardStep p = first;
    p.rows = s.p.active[t], p.from_input = memory.from_input + row * s.input_width;
    if (first.y) p.y = y_rows;
    p.every_c = s.at(results.every_c, t), p.resets_after = s.resets_after(t), p.masks = s.masks(t);
    if (results.saved) p.saved = results.saved + row * s.saved_row;
    step(p, state, y_rows, y.row);
  }
}

template <class T>
ForwardStep Forward<T>::operands(Range chunk, const State& state, const Results& results) const {
  ForwardStep p{};
  p.cell = &s.cell, p.number = s.precision.number, p.hidden_size = s.hidden, p.head_size = s.hidden / s.heads;
  p.from_input = memory.from_input, p.from_state = memory.from_state, p.from_gated = memory.from_gated;
  p.b_ih = s.b_ih, p.b_hh = s.b_hh, p.state = state.carried, p.gated = memory.gated;
  for (int k = 0; k < s.cell.vectors; ++k) p.vectors[k] = s.p.vectors[k].data;
  p.h = s.projected() ? memory.unprojected : state.h;
  if (!s.projected()) p.read = memory.read, p.y = s.at(results.y, chunk.begin), p.y_row = results.y.row;
  p.every_c_row = results.every_c.row, p.start_h = s.start_h, p.start_c = s.start_c;
  p.saved = results.saved, p.saved_row = s.saved_row, p.projected = s.projected();
  return p;
}

template <class T>
void Forward<T>::step(ForwardStep& p, const State& state, T* y, int64_t y_row) {
  const Products& products = queue.products;
  products.multiply_transposed(
      {p.rows, s.state_width / s.heads, s.depth, s.heads}, s.gates_of_state(memory.from_state, s.state_width),
      s.state(memory.read ? memory.read : state.h), s.weights_of_state(memory.w_hh ? memory.w_hh : s.w_hh));
  if (s.cell.gated) {
    check(gate_forward(p, queue.stream));
    products.multiply_transposed({p.rows, s.hidden / s.heads, s.depth, s.heads}, s.gated(memory.from_gated, s.hidden),
                                 s.gated(memory.gated, s.hidden), s.weights_of_gated(s.w_hh_gated));
  }
  check(s.cell.normalized ? layer_norm_forward(p, queue.stream) : cell_forward(p, queue.stream));
  if (s.projected()) project(p, state, y, y_row);
}

template <class T>
void Forward<T>::project(const ForwardStep& of, const State& state, T* y, int64_t y_row) {
  T* const projection = memory.projection ? memory.projection : state.h;
  queue.products.multiply_transposed({of.rows, s.output, s.hidden}, {projection, s.output},
                                     {memory.unprojected, s.hidden}, {s.w_hr, s.hidden});
  const ProjectionStep p{of.number, of.rows, s.output,        projection, state.h, memory.read,
                         y,         y_row,   of.resets_after, s.start_h,  of.masks};
  if (y || p.resets_after.data || s.masked()) check(projection_forward(p, queue.stream));
}

#define FASTRNN_FORWARD(T)          \
  template struct ForwardMemory<T>; \
  template class Forward<T>;
FASTRNN_FORWARD(double)
FASTRNN_FORWARD(float)
FASTRNN_FORWARD(__nv_bfloat16)
FASTRNN_FORWARD(__half)
#undef FASTRNN_FORWARD

size_t forward_bytes(const Problem<void>& problem, Precision precision) {
  return for_number(precision.number, [&]<class T>() {
    Scratch counted;
    ForwardMemory<T>(Sequence<T>{problem, precision}, counted);
    return counted.bytes();
  });
}

void forward(const Problem<void>& problem, Precision precision, const Resources& resources) {
  for_number(precision.number, [&]<class T>() {
    const Sequence<T> sequence{problem, precision};
    Scratch scratch(resources.scratch);
    const ForwardMemory<T> memory(sequence, scratch);
    const Queue queue{Products(resources.handle, precision.tf32), resources.stream};
    Forward<T>(sequence, memory, queue).run();
  });
}

}  // namespace fastrnn::cuda
