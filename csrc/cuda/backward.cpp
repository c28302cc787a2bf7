#include "backward.h"

namespace fastrnn::cuda {

template <class T>
void Backward<T>::run() {
  const int64_t chunks = s.pieces(memory.steps_per_chunk), units = s.batch * s.hidden;
  if (memory.w_hh) s.weights_by_head(memory.w_hh, queue.stream);
  check(convert(memory.dh, static_cast<const T*>(s.p.dhn), s.batch * s.output, queue.stream));
  if (memory.dc) check(convert(memory.dc, static_cast<const T*>(s.p.dcn), units, queue.stream));
  if (memory.dmasked) check(convert<A, A>(memory.dmasked, nullptr, s.batch * s.output, queue.stream));
  if (memory.left_h) check(convert<A, A>(memory.left_h, nullptr, s.batch * s.output, queue.stream));
  if (memory.left_c) check(convert<A, A>(memory.left_c, nullptr, units, queue.stream));
  for (int64_t n = chunks - 1; n >= 0; --n) {
    const Range chunk = s.piece(n, memory.steps_per_chunk);
    if (memory.again) compute_again(n, chunk);
    run_chunk(chunk);
    products_over_time(chunk, n == chunks - 1);
  }
  initial_gradients();
  round_sums();
}

// What forward would have saved of a chunk: from the h that it returned and the state that it kept.
template <class T>
void Backward<T>::compute_again(int64_t piece, Range times) {
  recomputed = times, checkpoint = s.checkpoint(piece);
  const int64_t first = s.time(times, 0), rows = s.rows_before(first);
  s.begin(memory.h, s.h0, s.start_h, s.output, queue.stream);
  if (rows > 0)
    check(copy_rows<T>({memory.h, rows, 0, s.output}, {h_before(first), rows, 0, s.p.y.row}, rows, s.output,
                       queue.stream));
  if (const Resets resets = s.resets_before(first); resets.data)
    check(begin_rows<T, T>(memory.h, memory.h, s.start_h, resets, resets.rows, s.output, queue.stream));
  if (memory.carried) check(convert(memory.carried, checkpoint, s.batch * s.hidden, queue.stream));
  Forward<T>(s, *memory.again, queue).run(times, {memory.h, memory.carried}, {{}, {}, memory.saved});
}

template <class T>
Accumulated<T>* Backward<T>::saved(int64_t t) const {
  return memory.again ? memory.saved + s.rows({recomputed.begin, t}) * s.saved_row : s.saved(t);
}

template <class T>
const T* Backward<T>::h_before(int64_t t) const {
  return s.rows_before(t) ? s.at(s.p.y, s.previous(t)) : nullptr;
}

template <class T>
typename Backward<T>::StateBefore Backward<T>::c_before(int64_t t) const {
  const int64_t before = s.previous(t), rows = s.rows_before(t);
  if (!s.cell.carries_c) return {};
  if (memory.again && (before < recomputed.begin || before >= recomputed.end)) return {checkpoint, s.batch, s.hidden};
  if (!rows) return {};
  return {saved(before) + s.slot_of_c * s.hidden, rows, s.saved_row};
}

template <class T>
BackwardStep Backward<T>::operands(Range chunk) const {
  BackwardStep p{};
  p.cell = &s.cell, p.number = s.precision.number, p.hidden_size = s.hidden, p.head_size = s.hidden / s.heads,
  p.output_size = s.output;
  if (s.saved_row) p.saved = saved(chunk.begin), p.saved_row = s.saved_row;
  for (int k = 0; k < s.cell.vectors; ++k) p.vectors[k] = s.p.vectors[k].data;
  p.y = s.at(s.p.y, chunk.begin), p.y_row = s.p.y.row;
  p.h0 = s.h0, p.c0 = s.c0, p.start_h = s.start_h, p.start_c = s.start_c;
  p.dy = s.at(s.p.dy, chunk.begin), p.dy_row = s.p.dy.row, p.devery_c_row = s.p.devery_c.row;
  p.left_h = memory.left_h, p.left_c = memory.left_c;
  p.dh = memory.dh, p.dmasked = memory.dmasked, p.dc = memory.dc, p.dunprojected = memory.dunprojected,
  p.dgated = memory.dgated;
  p.d_input = memory.d_input, p.d_recurrent = memory.d_state, p.d_vectors = memory.d_vectors;
  p.h_before = memory.h_before;
  // Without a projection the last thing saved is what W_hh's second product multiplies.
  p.kept = memory.kept, p.kept_slot = s.cell.saves - 1 + s.projected();
  return p;
}

template <class T>
void Backward<T>::run_chunk(Range chunk) {
  const Team& team = memory.team;
  const BackwardStep first_in_memory = operands(chunk);
  if (!team.blocks) {
    for (int64_t i = chunk.size() - 1; i >= 0; --i) step(s.time(chunk, i), chunk, first_in_memory);
    return;
  }
  if (team.flags) check(cudaMemsetAsync(memory.flags, 0, team.flags * sizeof(unsigned), queue.stream));
  const int64_t first = s.time(chunk, 0);
  const StateBefore c = c_before(first);
  BackwardSequence sequence{};
  sequence.step = first_in_memory, sequence.times = chunk.size(), sequence.batch = s.batch;
  sequence.y_step = s.step(s.p.y), sequence.dy_step = s.step(s.p.dy), sequence.reverse = s.p.reverse;
  sequence.w_hh = s.w_hh, sequence.y_before = h_before(first);
  sequence.c_before = c.data, sequence.c_before_row = c.row;
  sequence.team = team, sequence.exchange = memory.exchange, sequence.flags = memory.flags;
  check(backward_sequence(sequence, queue.stream));
}

template <class T>
void Backward<T>::step(int64_t t, Range chunk, BackwardStep p) {
  const int64_t row = s.rows({chunk.begin, t});
  T* const di = memory.d_input + row * s.input_width;
  T* const da = dgates() + row * dgates_row();
  const StateBefore c = c_before(t);
  p.rows = s.p.active[t];
  if (s.saved_row) p.saved = saved(t);
  p.y = s.at(s.p.y, t), p.dy = s.at(s.p.dy, t), p.devery_c = s.at(s.p.devery_c, t);
  p.resets_before = s.resets_before(t), p.resets_after = s.resets_after(t), p.masks = s.masks(t);
  p.rows_before = s.rows_before(t), p.y_before = h_before(t);
  p.c_before = c.data, p.c_before_row = c.row, p.c_rows_before = c.rows;
  p.d_input = di, p.h_before = memory.h_before + row * s.output;
  if (memory.d_state) p.d_recurrent = da;
  if (memory.d_vectors) p.d_vectors = memory.d_vectors + row * s.vectors_row();
  if (memory.kept) p.kept = memory.kept + row * s.hidden;

  if (s.projected()) through_projection(t, chunk, p);
  check(s.cell.normalized ? layer_norm_backward(p, queue.stream) : cell_backward(p, queue.stream));
  if (s.cell.gated) {
    queue.products.multiply({p.rows, s.depth, s.hidden / s.heads, s.heads}, s.gated(memory.dgated, s.hidden),
                            s.gated(di + s.state_width, s.input_width), s.weights_of_gated(s.w_hh_gated));
    check(gate_backward(p, queue.stream));
  }
  // What is left in dh passes by W_hh; before a projection nothing does but what zoneout keeps.
  const bool left = !memory.dmasked && (!s.projected() || s.p.zoneout_h.data);
  if (p.rows_before > 0 || s.p.dh0 || s.p.dstart_h)
    queue.products.multiply({p.rows, s.depth, s.state_width / s.heads, s.heads},
                            s.state(memory.dmasked ? memory.dmasked : memory.dh), s.gates_of_state(da, dgates_row()),
                            s.weights_of_state(memory.w_hh ? memory.w_hh : s.w_hh), left);
}

// h = W_hr m: dm = (dy + dh) · W_hr.
template <class T>
void Backward<T>::through_projection(int64_t t, Range chunk, const BackwardStep& p) {
  T* const sum = memory.doutput + s.rows({chunk.begin, t}) * s.output;
  check(projection_backward(p, sum, queue.stream));
  queue.products.multiply({p.rows, s.hidden, s.output}, {memory.dunprojected, s.hidden}, {sum, s.output},
                          {s.w_hr, s.hidden});
}

template <class T>
void Backward<T>::products_over_time(Range chunk, bool first) {
  const Products& products = queue.products;
  const BackwardMemory<T>& m = memory;
  const int64_t rows = s.rows(chunk);
  T* const gated = m.d_input + s.state_width;  // of W_hh's second product
  if (s.p.dx.data) input_gradient(chunk);
  if (m.dw_ih)
    products.transposed_multiply({s.input_width, s.input, rows}, {m.dw_ih, s.input}, {m.d_input, s.input_width},
                                 s.x(chunk, m.x, queue.stream), !first);
  if (m.dw_hh) {
    products.transposed_multiply({s.state_width / s.heads, s.depth, rows, s.heads}, s.weights_of_state(m.dw_hh),
                                 s.gates_of_state(dgates(), dgates_row()), s.state(m.h_before), !first);
    if (s.cell.gated)
      products.transposed_multiply({s.hidden / s.heads, s.depth, rows, s.heads},
                                   s.weights_of_gated(m.dw_hh + s.state_width * s.depth), s.gated(gated, s.input_width),
                                   s.gated(m.kept, s.hidden), !first);
  }
  if (m.dw_hr)
    products.transposed_multiply({s.output, s.hidden, rows}, {m.dw_hr, s.hidden}, {m.doutput, s.output},
                                 {m.kept, s.hidden}, !first);
  if (s.cell.normalized) return sums_of_normalized(chunk, first);
  if (m.db_ih) check(sum_rows<T>(m.db_ih, m.d_input, s.input_width, rows, s.input_width, !first, queue.stream));
  if (m.db_hh)
    check(sum_rows<T>(m.db_hh, dgates(), dgates_row(), rows, m.d_state ? s.state_width : s.input_width, !first,
                      queue.stream));
  if (m.db_hh && s.cell.gated && m.d_state)
    check(sum_rows<T>(m.db_hh + s.state_width, gated, s.input_width, rows, s.hidden, !first, queue.stream));
  for (int k = 0; k < s.cell.vectors; ++k)
    if (m.dvectors[k])
      check(sum_rows<A>(m.dvectors[k], m.d_vectors + k * s.hidden, s.cell.vectors * s.hidden, rows, s.hidden, !first,
                        queue.stream));
}

// Biases follow the normalization, so their gradients are not sums of what the products' are made of.
template <class T>
void Backward<T>::sums_of_normalized(Range chunk, bool first) {
  LayerNormSums sums{};
  sums.cell = &s.cell, sums.number = s.precision.number, sums.rows = s.rows(chunk), sums.hidden_size = s.hidden;
  sums.d_vectors = memory.d_vectors, sums.saved = saved(chunk.begin), sums.saved_row = s.saved_row;
  sums.db_ih = memory.db_ih, sums.db_hh = memory.db_hh, sums.add = !first;
  std::copy(memory.dvectors, memory.dvectors + most_vectors, sums.dvectors);
  check(layer_norm_sums(sums, queue.stream));
}

template <class T>
void Backward<T>::input_gradient(Range chunk) {
  const int64_t count = s.rows(chunk), row = s.matrix_row(s.p.dx, s.input);
  const Lying<T> lying = s.lying(s.p.dx, chunk), copy{memory.dx, count, 0, s.input};
  auto copied = [&](const Lying<T>& to, const Lying<T>& from) {
    const Lying<const T> source{from.data, from.rows_per_step, from.step, from.row};
    check(copy_rows<T>(to, source, count, s.input, queue.stream));
  };
  if (!row && s.p.add_to_dx) copied(copy, lying);
  queue.products.multiply({count, s.input, s.input_width}, {row ? lying.data : memory.dx, row ? row : s.input},
                          {memory.d_input, s.input_width}, {s.w_ih, s.input}, s.p.add_to_dx);
  if (!row) copied(lying, copy);
}

// Of what the rows began with: dh and dc of those that began anew with the first step are not of the given state.
template <class T>
void Backward<T>::initial_gradients() {
  if (memory.dmasked && (s.p.dh0 || s.p.dstart_h))
    check(add_multiplied(memory.dh, memory.dmasked, s.recurrent_mask, s.batch * s.output, queue.stream));
  if (const Resets resets = s.resets_before(s.time({0, s.p.times}, 0)); resets.data) {
    check(leave_rows(memory.dh, memory.left_h, resets, s.output, queue.stream));
    if (memory.dc) check(leave_rows(memory.dc, memory.left_c, resets, s.hidden, queue.stream));
  }
  start_gradient(memory.dstart_h, memory.left_h, s.h0 ? nullptr : memory.dh, s.output);
  start_gradient(memory.dstart_c, memory.left_c, s.c0 ? nullptr : memory.dc, s.hidden);
}

// Of a learned initial state: what the rows have left at resets and, where no state was given, of those that began with
// it.
template <class T>
void Backward<T>::start_gradient(A* sums, const A* left, const A* d_state, int64_t columns) {
  if (!sums) return;
  if (!left && !d_state) check(convert<A, A>(sums, nullptr, columns, queue.stream));
  if (left) check(sum_rows<A>(sums, left, columns, s.batch, columns, false, queue.stream));
  if (d_state) check(sum_rows<A>(sums, d_state, columns, s.batch, columns, left != nullptr, queue.stream));
}

// The gradients that were added up elsewhere, as they are stored.
template <class T>
void Backward<T>::round_sums() {
  auto round = [&](void* gradient, const A* sums, int64_t count) {
    if (gradient && gradient != sums) check(convert(static_cast<T*>(gradient), sums, count, queue.stream));
  };
  auto round_gates = [&](void* gradient, const A* sums, int64_t depth, bool by_head) {
    const int64_t of_state = s.state_width * depth, all = s.cell.gates_of_state() * s.hidden * depth;
    if (!by_head || !gradient) return round(gradient, sums, all);
    T* const to = static_cast<T*>(gradient);
    check(transpose_blocks(to, sums, s.heads, s.cell.recurrent_gates, s.hidden / s.heads * depth, queue.stream));
    if (all > of_state) round(to + of_state, sums + of_state, all - of_state);
  };
  round(s.p.dh0, memory.dh, s.batch * s.output), round(s.p.dc0, memory.dc, s.batch * s.hidden);
  round(s.p.dw_ih, memory.dw_ih, s.input_width * s.input), round_gates(s.p.dw_hh, memory.dw_hh, s.depth, s.heads > 1);
  round(s.p.db_ih, memory.db_ih, s.input_width);
  round_gates(s.p.db_hh, memory.db_hh, 1, s.heads > 1 && !s.cell.normalized);
  round(s.p.dw_hr, memory.dw_hr, s.output * s.hidden);
  round(s.p.dstart_h, memory.dstart_h, s.output), round(s.p.dstart_c, memory.dstart_c, s.hidden);
  for (int k = 0; k < s.cell.vectors; ++k) round(s.p.dvectors[k], memory.dvectors[k], s.cell.vector_size(k) * s.hidden);
}

void backward(const Problem<void>& problem, Precision precision, const Resources& resources) {
  for_number(precision.number, [&]<class T>() {
    const Sequence<T> sequence{problem, precision};
    Scratch scratch(resources.scratch);
    const BackwardMemory<T> memory(sequence, scratch);
    const Queue queue{Products(resources.handle, precision.tf32), resources.stream};
    Backward<T>(sequence, memory, queue).run();
  });
}

}  // namespace fastrnn::cuda
