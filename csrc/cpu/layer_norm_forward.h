// The time loop forward of a cell with layer normalization: as forward.h, with the two products of a step kept apart
// until each is normalized.
#pragma once
#include "factor_rows.h"
#include "layer_norm.h"
#include "layer_norm_zoneout.h"
#include "packed.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
class LayerNormForward : Normalized<Cell, T, Sequence<Cell, T>> {
  using S = Normalized<Cell, T, Sequence<Cell, T>>;
  using V = Vec<T>;
  using S::p, S::plan, S::hidden, S::width, S::vectors, S::chunk_rows, S::at;
  using typename S::Plain;
  static constexpr int64_t rows_per_chunk = 64, rows_together = 64;  // as in forward.h
  // The products and 1/σ of the input's. An odd number of cache lines, see gates_width.
  const int64_t row_width = ((Cell::slots + 1) * width / padded<T>(1) | 1) * padded<T>(1);

 public:
  explicit LayerNormForward(const Problem<T>& problem)
      : S(problem, rows_per_chunk),
        w_ih(plan, plan.input, p.w_ih, hidden, p.input_size, Cell::input_slots, width, chunk_rows()),
        w_hh(plan, plan.recurrent, p.w_hh, hidden, hidden, Cell::recurrent_slots, width, p.batch, p.heads),
        products(chunk_rows() * row_width), c(Cell::carries_c ? p.batch * width : 0), bias(Plain::slots * width),
        zero_row(row_width), read_h(p.recurrent_mask ? p.batch : 0, hidden, p.recurrent_mask), zoneout(*this),
        zero_products(1, chunk_rows()), left_rows(plan.threads, chunk_rows()),
        product_rows(plan.threads, chunk_rows()) {
    zero_row.clear(row_width);
    zero_products.fill(zero_row);
    bias.clear(Plain::slots * width);
    add_bias(p.b_ih, Cell::input_gates, Plain::input_slots);
    add_bias(p.b_hh, Cell::recurrent_gates, Plain::recurrent_slots);
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

  // As in forward.h.
  int planned_threads() const { return plan.threads; }
  void run_again(int threads) {
    parallel(int(smaller(plan.threads, threads)), [this](Team& team) { run(team); }, plan.tolerable_delay);
  }
  void run_beside(LayerNormForward& other) {
    parallel(
        plan.threads, [this](Team& team) { run(team); }, other.plan.threads, [&](Team& team) { other.run(team); },
        plan.tolerable_delay);
  }

 private:
  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    team.sync();  // each needs what the others have packed
    const Range rows = this->my_rows(team);
    const int64_t groups = plan.by_rows ? divide_up(rows.size(), rows_together) : 1;
    for (int64_t g = 0; g < groups; ++g)
      run(team, {rows.begin + rows.size() * g / groups, rows.begin + rows.size() * (g + 1) / groups});
    team.sync();
  }

  void run(Team& team, Range rows) {
    const Range first = this->my_cells(team, rows);
    for (int64_t b = first.begin; b < first.end; ++b) {
      if (Cell::carries_c)
        this->each_vector([&](int64_t u, int n) { V::load(this->initial_c(b) + u, n).store(c + b * width + u); });
      mask_h(p.reverse ? p.times - 1 : 0, b);
    }
    for (int64_t n = 0; n < this->chunks(); ++n) {
      const Range times = this->chunk(n, p.reverse);
      input_product(team, times, rows);
      for (int64_t i = 0; i < times.size(); ++i) {
        const int64_t t = p.reverse ? times.end - 1 - i : times.begin + i;
        step(team, times, t, this->active_rows(rows, t));
      }
    }
    final_states(this->my_cells(team, rows));
  }

  FASTRNN_INLINE T* product_row(Range times, int64_t t, int64_t b) const {
    return products + this->place(times, t, b) * row_width;
  }

  void input_product(Team& team, Range times, Range rows) {
    const T** x = left_rows.of(team);
    T** to = product_rows.of(team);
    int64_t count = 0;
    for (int64_t t = times.begin; t < times.end; ++t) {
      const Range now = this->active_rows(rows, t);
      for (int64_t b = now.begin; b < now.end; ++b, ++count)
        x[count] = at(p.x, t, b), to[count] = product_row(times, t, b);
    }
    w_ih.times(team, this->my_units(team), count, false, false, {x, zero_products, to}, [](Range) {});
    this->sync_units(team);
    const Range mine = this->my_cells(team, {0, count});
    for (int64_t i = mine.begin; i < mine.end; ++i)
      to[i][Cell::slots * width] = this->normalize(to[i], Cell::input_gates);
    this->sync_units(team);
  }

  void step(Team& team, Range times, int64_t t, Range rows) {
    const T** h = left_rows.of(team);
    T** to = product_rows.of(team);
    for (int64_t i = 0; i < rows.size(); ++i)
      h[i] = read_h(rows.begin + i, this->previous_h(t, rows.begin + i)), to[i] = product_row(times, t, rows.begin + i);
    w_hh.times(team, this->my_units(team), rows.size(), false, reverses_sweep(t, rows.size()), {h, zero_products, to},
               [](Range) {});
    this->sync_units(team);
    const Range mine = this->my_cells(team, rows);
    this->begin_anew(t, mine, {0, vectors}, c);
    for (int64_t b = mine.begin; b < mine.end; ++b) {
      const T* const h_prev = this->previous_h(t, b);
      if (this->zones) zoneout.before_cell(team, c + b * width);
      apply_cell(t, b, to[b - rows.begin], h_prev);
      if (this->zones) zoneout.after_cell(team, t, b, h_prev, c + b * width);
      mask_h(p.reverse ? t - 1 : t + 1, b);
    }
    this->sync_units(team);
  }

  // h as W_hh reads it at time t, once it is there. One row is enough: all have read the row of a step before a cell
  // writes that of the next.
  void mask_h(int64_t t, int64_t b) const {
    if (read_h.is_copy() && 0 <= t && t < p.times) read_h.fill(b, this->previous_h(t, b), this->mask(b));
  }

  void apply_cell(int64_t t, int64_t b, T* row, const T* h_prev) {
    T *h_row = at(p.y, t, b), *c_row = c + b * width, *saved = p.saved.data ? this->saved_at(t, b) : nullptr;
    T* every_c = p.every_c.data ? at(p.every_c, t, b) : nullptr;
    const T scale_hh = this->normalize(row + Cell::input_gates * width, Cell::recurrent_gates);
    this->each_vector([&](int64_t u, int n) {
      V a[Plain::slots], save[Plain::saves + 1], none[1], h, state{};
      for (int k = 0; k < Plain::slots; ++k) a[k] = V::load(bias + k * width + u);
      for (int k = 0; k < Cell::slots; ++k) {
        const V normalized = V::load(row + k * width + u);
        const int slot = k < S::in ? Plain::input_slots[k] : Plain::recurrent_slots[k - S::in];
        a[slot] = a[slot] + this->vector(S::gain_ih + k, u) * normalized;
        if (saved) normalized.store(saved + (Cell::normalized + k) * width + u);
      }
      if (Cell::carries_c) state = V::load(c_row + u);
      Plain::forward(a, none, Cell::reads_h ? V::load(h_prev + u, n) : V{}, state, h, save);
      for (int k = 0; saved && k < Plain::saves; ++k) save[k].store(saved + k * width + u);
      if constexpr (Cell::carries_c) {
        state.store(c_row + u);
        if (every_c) state.store(every_c + u, n);
        state.store(row + u), save[Plain::output_gate].store(row + width + u);  // what the next pass reads
      } else {
        h.store(h_row + u, n);
      }
    });
    const T scale_c = Cell::carries_c ? output(row, h_row, saved) : T(0);
    if (saved) keep(saved, row[Cell::slots * width], scale_hh, scale_c);
  }

  // h = o tanh(gain_c norm(c) + b_c). A row is c and o.
  T output(T* row, T* h_row, T* saved) {
    const T scale = this->normalize(row, 1);
    this->each_vector([&](int64_t u, int n) {
      const V normalized = V::load(row + u);
      const V read = tanh(this->vector(S::gain_c, u) * normalized + this->vector(S::bias_c, u));
      (V::load(row + width + u) * read).store(h_row + u, n);
      if (saved) normalized.store(saved + Cell::normalized_c * width + u);
    });
    return scale;
  }

  // 1/σ of the three, and zeros where nothing else was written: what an operator returns shows nothing of what memory
  // held.
  void keep(T* saved, T scale_ih, T scale_hh, T scale_c) const {
    for (int k = 0; k < Cell::deviations; ++k)
      for (int64_t u = vectors * V::lanes; u < width; u += V::lanes) V{}.store(saved + k * width + u);
    T* to = saved + Cell::deviations * width;
    for (int64_t u = 0; u < width; ++u) to[u] = 0;
    to[0] = scale_ih, to[1] = scale_hh, to[2] = scale_c;
  }

  void final_states(Range rows) {
    int64_t t = p.times - 1;
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      while (t > 0 && b >= p.active[t]) --t;
      const T* h = b < p.active[0] ? at(p.y, p.reverse ? 0 : t, b) : this->initial_h(b);
      T *hn = p.hn + this->row(b) * hidden, *cn = p.cn + this->row(b) * hidden;
      for (int64_t u = 0; u < hidden; ++u) hn[u] = h[u];
      for (int64_t u = 0; Cell::carries_c && u < hidden; ++u) cn[u] = c[b * width + u];
    }
  }

  void add_bias(const Weights<T>& b, int count, const int* slots) {
    for (int g = 0; b && g < count; ++g)
      visit_weights(b, g * hidden, [&](auto* from) {
        this->each_vector([&](int64_t u, int n) {
          T* to = bias + slots[g] * width + u;
          (V::load(to) + load_weights(from + u, n)).store(to);
        });
      });
  }

  ForwardWeights<T, Cell::input_gates> w_ih;
  ForwardWeights<T, Cell::recurrent_gates> w_hh;
  Buffer<T> products, c, bias, zero_row;
  MaskedRows<T> read_h;
  ZoneoutForward<Cell, T> zoneout;
  RowPointers<const T*> zero_products, left_rows;
  RowPointers<T*> product_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
