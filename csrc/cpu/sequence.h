// What the time loops forward and backward have in common: where rows lie, which rows and units are this thread's,
// and how the gates of a hidden unit are laid out in memory.
//
// Hidden units come in vectors. A row of gates is [slot][unit], each slot padded to whole cache lines, so lanes beyond
// hidden_size exist in scratch memory, hold nothing of value, and are never mixed with a lane that does.
#pragma once
#include "dots.h"
#include "plan.h"
#include "scratch.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
FASTRNN_INLINE int64_t padded(int64_t n) {
  constexpr int64_t per_line = cache_line / sizeof(T);
  return divide_up(n, per_line) * per_line;
}

// One pointer per row of a chunk, for each thread or for all: the operands of products.
template <class P>
class RowPointers {
 public:
  RowPointers(int threads, int64_t rows) : rows(rows), all(threads * rows) {}
  FASTRNN_INLINE P* of(const Team& team) const { return all + team.rank * rows; }
  void fill(P pointer) {
    for (int64_t i = 0; i < rows; ++i) all[i] = pointer;
  }
  FASTRNN_INLINE operator P*() const { return all; }

 private:
  const int64_t rows;
  Buffer<P> all;
};

// Numbers per unit of vector k of a cell, and of all of them.
template <class Cell>
constexpr int vector_size(int k) {
  if constexpr (normalizes<Cell>) return Cell::vector_sizes[k];
  return 1;
}
template <class Cell>
constexpr int vector_slots() {
  int slots = 0;
  for (int k = 0; k < Cell::vectors; ++k) slots += vector_size<Cell>(k);
  return slots;
}

// Slots of what a row adds to the gradients of biases and vectors, beside those that the products sum.
template <class Cell>
constexpr int row_sums() {
  if constexpr (normalizes<Cell>) return Cell::sums;
  return Cell::vectors;
}

template <class Cell, class T>
struct Sequence {
  static constexpr int lanes = Vec<T>::lanes;
  static constexpr int first_slot[] = {0}, gated_slots[] = {Cell::slots - 1};
  const Problem<T>& p;
  Plan plan;
  const int64_t hidden = p.hidden_size, output = p.projection_size ? p.projection_size : p.hidden_size;
  const int64_t width = padded<T>(hidden);  // of a slot
  const int64_t vectors = divide_up(hidden, lanes), output_vectors = divide_up(output, lanes);
  const int64_t output_width = padded<T>(output);
  const int64_t gated_weights = Cell::recurrent_gates * hidden * output / p.heads;  // where they begin in weight_hh
  // Slots of a row of gates: the pre-activations, and going backward what the row adds to the gradients of the vectors.
  static constexpr int row_slots = Cell::slots + row_sums<Cell>();
  // An odd number of cache lines a row: else the same slot of many rows would fall into the same few cache sets.
  const int64_t gates_width = row_slots * width + (row_slots * width / padded<T>(1) % 2 ? 0 : padded<T>(1));
  // Of a row: what the cell saves; with a projection m, of h = W_hr m; with zoneout of c also c_t. With zoneout of h y
  // is no longer the cell's own h: a cell that goes backward from its h saves it then.
  const int64_t saved_slots = Cell::saves + (p.projection_size > 0) + (Cell::carries_c && p.zoneout_c.data) +
                              (goes_back_from_h<Cell>() && p.zoneout_h.data);
  const int64_t saved_row = saved_slots * width;
  const bool zones = p.zoneout_h.data || p.zoneout_c.data;
  static constexpr int64_t slot_of_h = Cell::saves;
  const int64_t slot_of_c = Cell::carries_c && p.zoneout_c.data ? saved_slots - 1 : pointwise_saves<Cell>() - 1;
  const int64_t longest = larger(larger(p.input_size, width), padded<T>(output));
  Buffer<T> zeros{longest};
  Buffer<T> cell_vectors{vector_slots<Cell>() * width};  // widened, padded with zeros
  Buffer<T> learned{p.start_h ? output_width + width : 0};
  // What rows begin with where no state is given, and after resets.
  const T* const start_h = *(p.start_h ? &learned : &zeros);
  const T* const start_c = p.start_c ? start_h + output_width : zeros;
  RowPointers<const T*> zero_rows{1, chunk_rows()};
  const bool uneven = plan.by_rows && plan.threads > 1 && p.active[p.times - 1] < p.batch;
  Buffer<int64_t> first_rows{uneven ? plan.threads + 1 : 0};  // see share_steps()

  Sequence(const Problem<T>& problem, int64_t rows_per_chunk)
      : p(problem), plan(make_plan<Cell>(problem, rows_per_chunk)) {
    zeros.clear(longest);
    zero_rows.fill(zeros);
    if (uneven) share_steps(p.active, p.times, p.batch, plan.threads, first_rows);
    cell_vectors.clear(vector_slots<Cell>() * width);
    T* to = cell_vectors;
    for (int k = 0; k < Cell::vectors; ++k)
      for (int i = 0; i < vector_size<Cell>(k); ++i, to += width) widen(p.vectors[k].from(i * hidden), hidden, to);
    if (p.start_h) learned.clear(output_width + width), widen(p.start_h, output, learned);
    if (p.start_c) widen(p.start_c, hidden, learned + output_width);
  }

  static void widen(const Weights<T>& weights, int64_t count, T* to) {
    visit_weights(weights, 0, [&](auto* from) {
      for (int64_t u = 0; u < count; u += lanes) load_weights(from + u, int(count - u)).store(to + u);
    });
  }

  // Where row b is in the tensors of the call.
  FASTRNN_INLINE int64_t row(int64_t b) const { return p.row_of ? p.row_of[b] : b; }
  template <class U>
  FASTRNN_INLINE U* at(const Rows<U>& rows, int64_t t, int64_t b) const {
    return rows.data + t * rows.step + p.before[t] * rows.packed + row(b) * rows.row;
  }
  // What is saved is in the order of the loop.
  FASTRNN_INLINE T* saved_at(int64_t t, int64_t b) const { return p.saved.data + (p.before[t] + b) * p.saved.row; }

  // The cell's own parameters for the vector of units that begins with u.
  FASTRNN_INLINE void load_vectors(int64_t u, Vec<T>* w) const {
    for (int k = 0; k < vector_slots<Cell>(); ++k) w[k] = Vec<T>::load(cell_vectors + k * width + u);
  }

  // The time before t in the direction of the loop, if row b has one.
  FASTRNN_INLINE bool has_previous(int64_t t, int64_t b) const {
    int64_t before = previous(t);
    return before >= 0 && before < p.times && b < p.active[before];
  }
  FASTRNN_INLINE int64_t previous(int64_t t) const { return p.reverse ? t + 1 : t - 1; }

  // Whether row b begins anew with the step at t, instead of going on from the one before.
  FASTRNN_INLINE bool begins_anew(int64_t t, int64_t b) const {
    if (!p.resets) return false;
    return p.reverse ? t + 1 < p.times && p.resets[(t + 1) * p.batch + b] : p.resets[t * p.batch + b];
  }

  FASTRNN_INLINE const T* initial_h(int64_t b) const { return p.h0 ? p.h0 + row(b) * output : start_h; }
  FASTRNN_INLINE const T* initial_c(int64_t b) const { return p.c0 ? p.c0 + row(b) * hidden : start_c; }
  FASTRNN_INLINE const T* previous_h(int64_t t, int64_t b) const {
    if (begins_anew(t, b)) return start_h;
    return has_previous(t, b) ? at(p.y, previous(t), b) : initial_h(b);
  }
  // What h_{t-1} of row b is multiplied by before W_hh, or null.
  FASTRNN_INLINE const T* mask(int64_t b) const {
    return p.recurrent_mask ? p.recurrent_mask + row(b) * output : nullptr;
  }
  // A row of zoneout at time t, or null.
  FASTRNN_INLINE const T* kept(const Rows<const T>& zoneout, int64_t t, int64_t b) const {
    return zoneout.data ? at(zoneout, t, b) : nullptr;
  }

  // In c (batch, width): row by row what the steps at t begin with, where that is not what is there.
  FASTRNN_INLINE void begin_anew(int64_t t, Range rows, Range units, T* c) const {
    if (!Cell::carries_c || !p.resets) return;
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int64_t u = units.begin * lanes; begins_anew(t, b) && u < units.end * lanes; u += lanes)
        Vec<T>::load(start_c + u).store(c + b * width + u);
  }

  // This thread's part of the batch and of n vectors of units: one of them is everything. Until the next barrier.
  FASTRNN_INLINE Range my_rows(const Team& team) const {
    if (uneven) return {first_rows[team.first], first_rows[team.last]};
    return plan.by_rows ? team.share(p.batch) : Range{0, p.batch};
  }
  FASTRNN_INLINE Range my_vectors(const Team& team, int64_t n) const {
    return plan.by_rows ? Range{0, n} : team.share(n);
  }
  // Those of the rows that are active at time t: of no size where all have ended.
  FASTRNN_INLINE Range active_rows(Range rows, int64_t t) const {
    return {rows.begin, larger(rows.begin, smaller(rows.end, p.active[t]))};
  }
  FASTRNN_INLINE void sync_units(Team& team) const {
    if (!plan.by_rows) team.sync();
  }

  // Chunks of time, and the loop over the times of one, both in the direction of the loop (or against it, for BPTT).
  FASTRNN_INLINE int64_t chunks() const { return divide_up(p.times, plan.times_per_chunk); }
  FASTRNN_INLINE Range chunk(int64_t n, bool descending) const {
    if (descending) n = chunks() - 1 - n;
    return {n * plan.times_per_chunk, smaller((n + 1) * plan.times_per_chunk, p.times)};
  }
  // Of a row among those of a chunk, whatever the lengths of others.
  FASTRNN_INLINE int64_t place(Range times, int64_t t, int64_t b) const { return (t - times.begin) * p.batch + b; }
  FASTRNN_INLINE int64_t chunk_rows() const { return plan.times_per_chunk * p.batch; }
};

// Zoneout: m of the old and 1 - m of the new state. Exactly one of them where m is 0 or 1.
template <class V>
FASTRNN_INLINE V blend(V m, V before, V now) {
  return m * before + (1 - m) * now;
}

// Columns [v, v + n) (in vectors) of a matrix that has `columns` of them, at b with `step` numbers from row to row.
template <class T>
inline Panel<T> column_panel(const Factor<T>* b, int64_t step, int64_t columns, int64_t v, int n) {
  constexpr int lanes = Vec<T>::lanes;
  Panel<T> panel{b, step, n, int(smaller(lanes, columns - (v + n - 1) * lanes)), {}};
  for (int j = 0; j < n; ++j) panel.column[j] = (v + j) * lanes;
  return panel;
}

}  // namespace fastrnn::FASTRNN_TARGET
