// The time loop backward of a cell with layer normalization: as backward.h. A step goes through the plain cell,
// then through both normalizations: its results are the gradients of the two products, which are summed over time as
// everywhere else.
#pragma once
#include "backward_states.h"
#include "layer_norm.h"
#include "layer_norm_zoneout.h"
#include "weight_gradients.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
class LayerNormBackward : Normalized<Cell, T, BackwardStates<Cell, T>> {
  using S = Normalized<Cell, T, BackwardStates<Cell, T>>;
  using V = Vec<T>;
  using S::p, S::plan, S::hidden, S::width, S::vectors, S::zeros, S::gates_width, S::chunk_rows, S::at, S::in;
  using typename S::Plain;
  // A row: gradients of the products, then what it adds to those of biases and vectors (Cell::sums).
  static constexpr int da_slot = Cell::slots, gain_slot = da_slot + Plain::slots, c_slot = gain_slot + Cell::slots;

 public:
  explicit LayerNormBackward(const Problem<T>& problem)
      : S(problem, backward_rows(problem)),
        w_ih(plan, p.dx.data ? p.w_ih : Weights<T>{}, in, hidden, p.input_size, Cell::input_slots, width, true),
        w_hh(plan, p.w_hh, Cell::recurrent_gates, hidden, hidden, Cell::recurrent_slots, width, false, p.heads),
        drows(chunk_rows() * gates_width), dh(p.batch * width), dread(p.recurrent_mask ? p.batch * width : 0),
        dc(Cell::carries_c ? p.batch * width : 0), masked_h(p.recurrent_mask && p.dw_hh ? chunk_rows() * width : 0),
        zoneout(*this), left_rows(plan.threads, chunk_rows()), result_rows(plan.threads, chunk_rows()),
        x_rows(plan.threads, chunk_rows()), h_rows(plan.threads, chunk_rows()), gradients(*this),
        left_h(p.dstart_h ? p.batch * width : 0), left_c(p.dstart_c ? p.batch * width : 0) {
    left_h.clear(p.dstart_h ? p.batch * width : 0);
    left_c.clear(p.dstart_c ? p.batch * width : 0);
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

 private:
  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    const Range units = this->my_units(team);
    this->load_state(dh, width, p.dhn, hidden, this->my_rows(team), units);
    if (Cell::carries_c) this->load_state(dc, width, p.dcn, hidden, this->my_rows(team), units);
    team.sync();  // each needs what the others have packed
    for (int64_t n = 0; n < this->chunks(); ++n) {
      const Range times = this->chunk(n, !p.reverse);
      for (int64_t i = 0; i < times.size(); ++i) {
        const int64_t t = p.reverse ? times.begin + i : times.end - 1 - i;
        step(team, times, t, this->active_rows(this->my_rows(team), t));
      }
      team.sync();
      products_over_time(team, times, n == 0);
      team.sync();
    }
    this->store_state(dh, width, p.dh0, hidden, this->my_rows(team), this->my_units(team));
    if (Cell::carries_c) this->store_state(dc, width, p.dc0, hidden, this->my_rows(team), this->my_units(team));
    this->sum_over_rows(team.share(vectors), left_h, !p.h0, dh, width, hidden, p.dstart_h);
    this->sum_over_rows(team.share(vectors), left_c, !p.c0, dc, width, hidden, p.dstart_c);
    gradients.store_sums(team.share(hidden));
  }

  FASTRNN_INLINE int64_t row_in_chunk(Range times, int64_t t, int64_t b) const {
    return p.before[t] - p.before[times.begin] + b;
  }
  FASTRNN_INLINE const T* previous_c(int64_t t, int64_t b) const {
    if (this->begins_anew(t, b)) return this->start_c;
    if (!this->has_previous(t, b)) return this->initial_c(b);
    return this->saved_at(this->previous(t), b) + this->slot_of_c * width;
  }

  void step(Team& team, Range times, int64_t t, Range rows) {
    const T** da = left_rows.of(team);
    T** result = result_rows.of(team);
    T* const read = p.recurrent_mask ? dread : dh;  // the gradient of h as W_hh reads it
    for (int64_t i = 0; i < rows.size(); ++i) {
      da[i] = drows + row_in_chunk(times, t, rows.begin + i) * gates_width;
      result[i] = read + (rows.begin + i) * width;
    }
    const Range mine = this->my_cells(team, rows);
    for (int64_t b = mine.begin; b < mine.end; ++b) {
      T *const row = drows + row_in_chunk(times, t, b) * gates_width, *const dh_row = dh + b * width;
      T* const dc_row = Cell::carries_c ? dc + b * width : nullptr;
      if (this->zones) zoneout.before_cell(team, t, b, dh_row, dc_row);
      if constexpr (Cell::carries_c) through_output(t, b, row);
      through_cell(t, b, row);
      if (this->zones) zoneout.after_cell(team, dh_row, dc_row);
      if (Cell::carries_c && this->begins_anew(t, b)) this->leave(dc, left_c, width, b, {0, vectors});
    }
    const bool first = this->previous(t) < 0 || this->previous(t) >= p.times;
    if (first && !p.dh0 && !p.dstart_h) return;  // dL/dh_0 is not wanted
    this->sync_units(team);
    const Range units = this->my_units(team);
    const T* const* init = result;
    if (p.recurrent_mask) init = this->zero_rows;
    w_hh.times(team, units, rows.size(), reverses_sweep(t, rows.size()), {da, init, result});
    for (int64_t b = rows.begin; p.recurrent_mask && b < rows.end; ++b)
      this->add_masked(dread + b * width, dh + b * width, b, units);
    for (int64_t b = rows.begin; p.resets && b < rows.end; ++b)
      if (this->begins_anew(t, b)) this->leave(dh, left_h, width, b, units);
    this->sync_units(team);
  }

  // What dh lacks of dL/dh_t. Zoneout has added it already.
  FASTRNN_INLINE const T* dy(int64_t t, int64_t b) const { return p.dy.data && !this->zones ? at(p.dy, t, b) : zeros; }

  // Through h = o tanh(gain_c norm(c) + b_c): adds to dc, and leaves da of the output gate in the row.
  void through_output(int64_t t, int64_t b, T* row) {
    const T *saved = this->saved_at(t, b), *dy_row = dy(t, b), *dh_row = dh + b * width;
    const T* devery_c = p.devery_c.data && !this->zones ? at(p.devery_c, t, b) : nullptr;
    T* dc_row = dc + b * width;
    NormGradient<T> norm;
    this->each_vector([&](int64_t u, int n) {
      const V normalized = V::load(saved + Cell::normalized_c * width + u, n), gain = this->vector(S::gain_c, u);
      const V read = tanh(gain * normalized + this->vector(S::bias_c, u));
      const V dh_value = V::load(dy_row + u, n) + V::load(dh_row + u, n);
      const V o = V::load(saved + Plain::output_gate * width + u, n), dread = dh_value * o * (1 - read * read);
      (dh_value * read * o * (1 - o)).store(row + (da_slot + Plain::output_gate) * width + u);
      (dread * normalized).store(row + c_slot * width + u), dread.store(row + (c_slot + 1) * width + u);
      norm.add(dread * gain, normalized);
    });
    norm.divide(T(hidden), saved[Cell::deviations * width + 2]);
    this->each_vector([&](int64_t u, int n) {
      const V dnormalized = V::load(row + (c_slot + 1) * width + u) * this->vector(S::gain_c, u);
      const V normalized = V::load(saved + Cell::normalized_c * width + u, n);
      V dc_value = V::load(dc_row + u) + norm.dx(dnormalized, normalized);
      if (devery_c) dc_value = dc_value + V::load(devery_c + u, n);
      dc_value.store(dc_row + u);
    });
  }

  // Through the plain cell, and then the normalization of both products.
  void through_cell(int64_t t, int64_t b, T* row) {
    const T *saved = this->saved_at(t, b), *dy_row = dy(t, b);
    const T* h_row = p.zoneout_h.data ? saved + S::slot_of_h * width : at(p.y, t, b);  // of cells that go back from it
    const T* h_prev = Cell::reads_h ? this->previous_h(t, b) : nullptr;
    const T* c_prev = Cell::carries_c ? previous_c(t, b) : nullptr;
    T *dh_row = dh + b * width, *dc_row = dc + b * width;
    NormGradient<T> norms[2];
    this->each_vector([&](int64_t u, int n) {
      V save[Plain::saves + 1], da[Plain::slots], none[1], dc_value{}, dh_value{}, dh_prev;
      for (int k = 0; k < Plain::saves; ++k) save[k] = V::load(saved + k * width + u, n);
      if (Cell::carries_c)
        dc_value = V::load(dc_row + u);  // h is a function of c that through_output has seen to
      else
        dh_value = V::load(dy_row + u, n) + V::load(dh_row + u, n);
      Plain::backward(save, none, Plain::saves ? V{} : V::load(h_row + u, n),
                      Cell::reads_h ? V::load(h_prev + u, n) : V{}, Cell::carries_c ? V::load(c_prev + u, n) : V{},
                      dh_value, dc_value, da, none, dh_prev);
      if constexpr (Cell::carries_c) {
        da[Plain::output_gate] = V::load(row + (da_slot + Plain::output_gate) * width + u);
        dc_value.store(dc_row + u);
      }
      dh_prev.store(dh_row + u);
      for (int k = 0; k < Plain::slots; ++k) da[k].store(row + (da_slot + k) * width + u);
      for (int k = 0; k < Cell::slots; ++k) {
        const V normalized = V::load(saved + (Cell::normalized + k) * width + u, n), dscaled = da[slot_of(k)];
        (dscaled * normalized).store(row + (gain_slot + k) * width + u);
        norms[k >= in].add(dscaled * this->vector(S::gain_ih + k, u), normalized);
      }
    });
    for (int i = 0; i < 2; ++i)
      norms[i].divide(T(i ? Cell::recurrent_gates : in) * T(hidden), saved[Cell::deviations * width + i]);
    for (int k = 0; k < Cell::slots; ++k)
      this->each_vector([&](int64_t u, int n) {
        const V dnormalized = V::load(row + (da_slot + slot_of(k)) * width + u) * this->vector(S::gain_ih + k, u);
        const V normalized = V::load(saved + (Cell::normalized + k) * width + u, n);
        norms[k >= in].dx(dnormalized, normalized).store(row + k * width + u);
      });
  }
  // The plain cell's slot that product k goes to.
  static constexpr int slot_of(int k) { return k < in ? Plain::input_slots[k] : Plain::recurrent_slots[k - in]; }

  void products_over_time(Team& team, Range times, bool first) {
    const T **x = x_rows.of(team), **h = h_rows.of(team), **da = left_rows.of(team);
    T** dx = result_rows.of(team);
    int64_t count = 0;
    const Range to_mask = team.share(p.before[times.end] - p.before[times.begin]);
    for (int64_t t = times.begin; t < times.end; ++t)
      for (int64_t b = 0; b < p.active[t]; ++b, ++count) {
        x[count] = at(p.x, t, b), h[count] = this->previous_h(t, b);
        const bool fill = to_mask.begin <= count && count < to_mask.end;
        if (masked_h) h[count] = this->masked(h[count], b, masked_h + count * width, fill);
        da[count] = drows + count * gates_width, dx[count] = at(p.dx, t, b);
      }
    if (p.dx.data) {
      const Range mine = team.share(count);
      const T* const* init = this->zero_rows;
      if (p.add_to_dx) init = dx + mine.begin;
      w_ih.times(team, {0, divide_up(p.input_size, V::lanes)}, mine.size(), false,
                 {da + mine.begin, init, dx + mine.begin});
    }
    if (masked_h) team.sync();  // each reads what the others have masked
    gradients.add(team, {count, drows, nullptr, x, h, nullptr}, times, first);
  }

  ColumnWeights<T> w_ih, w_hh;
  Buffer<T> drows, dh, dread, dc, masked_h;  // the last of a chunk
  ZoneoutBackward<Cell, T> zoneout;
  RowPointers<const T*> left_rows;
  RowPointers<T*> result_rows;
  RowPointers<const T*> x_rows, h_rows;
  WeightGradients<Cell, T> gradients;
  Buffer<T> left_h, left_c;  // as in backward.h
};

}  // namespace fastrnn::FASTRNN_TARGET
