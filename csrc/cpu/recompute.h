// What the forward pass would have saved, found again in scratch memory, one segment of time at a time (see
// steps_per_checkpoint). Every h_{t-1} is in the output, so nothing waits for the step before: the gates of a whole
// segment are two products. Only an LSTM's c goes step by step, from the checkpoint at which the loop entered the
// segment.
#pragma once
#include "gates.h"

namespace fastrnn::FASTRNN_TARGET {

// Its chunks are the segments.
template <class Cell, class T>
class Recompute : Gates<Cell, T> {
  using G = Gates<Cell, T>;
  using V = Vec<T>;
  using G::p, G::plan, G::hidden, G::width, G::vectors, G::chunk_rows, G::at;
  // The gates of a row become its saved numbers where they are. An odd number of cache lines, see gates_width.
  const int64_t numbers = larger(G::saved_row, Cell::slots* width);
  const int64_t row_width = numbers + (numbers / padded<T>(1) % 2 ? 0 : padded<T>(1));

 public:
  explicit Recompute(const Problem<T>& problem)
      : G(problem, steps_per_checkpoint(problem.batch) * problem.batch), saved(chunk_rows() * row_width),
        c(Cell::carries_c ? p.batch * width : 0), gated(Cell::gated ? chunk_rows() * width : 0),
        factors_of_h(chunk_rows(), G::output, p.recurrent_mask), x_rows(plan.threads, chunk_rows()),
        h_rows(plan.threads, chunk_rows()), previous_rows(plan.threads, chunk_rows()),
        mask_rows(plan.threads, p.recurrent_mask ? chunk_rows() : 0), gate_rows(plan.threads, chunk_rows()),
        gated_rows(plan.threads, chunk_rows()) {}

  using G::pack;

  // Before the steps of a chunk of the backward pass: fills the segment if this is the first of its chunks.
  void reach(Team& team, Range chunk) {
    Range segment = this->chunk(chunk.begin / plan.times_per_chunk, false);
    if (p.reverse ? chunk.begin == segment.begin : chunk.end == segment.end) fill(team, segment, this->my_rows(team));
  }

  // Of the segment that was reached.
  FASTRNN_INLINE T* row(int64_t t, int64_t b) const {
    const int64_t begin = t / plan.times_per_chunk * plan.times_per_chunk;
    return saved + (p.before[t] - p.before[begin] + b) * row_width;
  }
  FASTRNN_INLINE const T* previous_c(int64_t t, int64_t b) const {
    if (this->begins_anew(t, b)) return this->start_c;
    if (!this->has_previous(t, b)) return this->initial_c(b);
    const int64_t before = this->previous(t), segment = t / plan.times_per_chunk;
    return before / plan.times_per_chunk == segment ? row(before, b) + this->slot_of_c * width : checkpoint(segment, b);
  }

 private:
  FASTRNN_INLINE const T* checkpoint(int64_t segment, int64_t b) const {
    return p.checkpoints + (segment * p.batch + b) * width;
  }

  // Shared out as the steps are, so that no thread needs what another has found but in a gated cell.
  void fill(Team& team, Range segment, Range rows) {
    if (factors_of_h.is_copy())
      this->each_of_chunk(team, segment, rows, [this](int64_t place, int64_t t, int64_t b) {
        factors_of_h.fill(place, this->previous_h(t, b), this->mask(b));
      });
    this->round_input(team, segment, rows);
    const Range units = this->my_vectors(team, vectors);
    const Factor<T>**x = x_rows.of(team), **h = h_rows.of(team);
    const T **h_prev = previous_rows.of(team), **masks = p.recurrent_mask ? mask_rows.of(team) : nullptr;
    T** gates = gate_rows.of(team);
    Factor<T>** g = gated_rows.of(team);
    int64_t count = 0;
    each_time(segment, [&](int64_t t) {
      Range now = this->active_rows(rows, t);
      for (int64_t b = now.begin; b < now.end; ++b, ++count) {
        x[count] = this->input_row(segment, t, b), h_prev[count] = this->previous_h(t, b), gates[count] = row(t, b);
        h[count] = factors_of_h(this->place(segment, t, b), h_prev[count]);
        if (masks) masks[count] = this->mask(b);
        if (Cell::gated) g[count] = gated + (gates[count] - saved) / row_width * width;
      }
    });
    for (int64_t b = rows.begin; Cell::carries_c && b < rows.end; ++b)
      for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes)
        V::load(checkpoint(segment.begin / plan.times_per_chunk, b) + u).store(c + b * width + u);
    this->input_product(team, units, count, x, gates);
    this->recurrent_product(team, units, count, false, h, h_prev, masks, gates, g, [&](Range vectors) {
      int64_t first = 0;
      each_time(segment, [&](int64_t t) {
        Range now = this->active_rows(rows, t);
        if (now.size() <= 0) return;
        this->begin_anew(t, now, vectors, c);
        this->apply_cell(
            vectors, now.size(),
            {t, now.begin, gates + first, h_prev + first, masks ? masks + first : nullptr,
             Cell::carries_c ? c + now.begin * width : nullptr, nullptr, nullptr, gates[first], row_width});
        first += now.size();
      });
    });
  }

  // In the order of the forward pass.
  template <class Visit>
  void each_time(Range times, Visit visit) const {
    for (int64_t i = 0; i < times.size(); ++i) visit(p.reverse ? times.end - 1 - i : times.begin + i);
  }

  Buffer<T> saved, c;
  Buffer<Factor<T>> gated;
  MaskedRows<T> factors_of_h;
  RowPointers<const Factor<T>*> x_rows, h_rows;
  RowPointers<const T*> previous_rows, mask_rows;
  RowPointers<T*> gate_rows;
  RowPointers<Factor<T>*> gated_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
