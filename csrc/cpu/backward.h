// The time loop backward: back-propagation through time. A step turns dL/dh_t into dL/d(pre-activations), then into
// dL/dh_{t-1} through W_hh. What needs no order in time waits until a chunk of steps is done and is then one large
// product each: dx = dgates · W_ih, dW_ih = dgatesᵀ · x, dW_hh = dgatesᵀ · h_{t-1}.
#pragma once
#include "backward_states.h"
#include "recompute.h"
#include "weight_gradients.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
class Backward : BackwardStates<Cell, T> {
  using S = BackwardStates<Cell, T>;
  using V = Vec<T>;
  using S::p, S::plan, S::hidden, S::output, S::width, S::output_width, S::vectors, S::zeros, S::gates_width,
      S::chunk_rows, S::at;

 public:
  explicit Backward(const Problem<T>& problem)
      : S(problem, backward_rows(problem)), w_ih(plan, p.dx.data ? p.w_ih : Weights<T>{}, Cell::input_gates, hidden,
                                                 p.input_size, Cell::input_slots, width, true),
        w_hh(plan, p.w_hh, Cell::recurrent_gates, hidden, output, Cell::recurrent_slots, width, false, p.heads),
        w_hh_gated(plan, Cell::gated ? p.w_hh.from(S::gated_weights) : Weights<T>{}, 1, hidden, output, S::gated_slots,
                   width, false, p.heads),
        w_hr(plan, p.w_hr, 1, output, hidden, S::first_slot, width), dgates(chunk_rows() * gates_width),
        dh(p.batch * output_width), dmasked(p.recurrent_mask ? p.batch * output_width : 0),
        dc(Cell::carries_c ? p.batch * width : 0), dgated(Cell::gated ? p.batch * width : 0),
        doutput(p.w_hr ? chunk_rows() * output_width : 0), dunprojected(p.w_hr ? p.batch * width : 0),
        rounded_dgates(chunk_rows(), Cell::slots * width), rounded_doutput(p.w_hr ? p.batch : 0, output),
        left_rows(plan.threads, chunk_rows()), result_rows(plan.threads, chunk_rows()),
        x_rows(plan.threads, chunk_rows()), h_rows(plan.threads, chunk_rows()), saved_rows(plan.threads, chunk_rows()),
        masked_h(p.recurrent_mask && p.dw_hh ? chunk_rows() * output_width : 0), gradients(*this),
        left_h(p.dstart_h ? p.batch * output_width : 0), left_c(p.dstart_c ? p.batch * width : 0) {
    left_h.clear(p.dstart_h ? p.batch * output_width : 0);
    left_c.clear(p.dstart_c ? p.batch * width : 0);
  }

  void run() {
    if (!p.recompute) return run_all();
    Recompute<Cell, T> again(p);
    recomputed = &again;
    run_all();
  }

 private:
  void run_all() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

  void run(Team& team) {
    if (recomputed) recomputed->pack(team);
    w_ih.pack(team);
    w_hh.pack(team);
    w_hh_gated.pack(team);
    w_hr.pack(team);
    this->load_state(dh, output_width, p.dhn, output, this->my_rows(team), outputs(team));
    if (Cell::carries_c) this->load_state(dc, width, p.dcn, hidden, this->my_rows(team), units(team));
    team.sync();  // each needs what the others have packed
    for (int64_t n = 0; n < this->chunks(); ++n) {
      Range times = this->chunk(n, !p.reverse);
      if (recomputed) recomputed->reach(team, times);
      for (int64_t i = 0; i < times.size(); ++i) {
        int64_t t = p.reverse ? times.begin + i : times.end - 1 - i;
        step(team, times, t, this->active_rows(this->my_rows(team), t));
      }
      team.sync();
      products_over_time(team, times, n == 0);
      team.sync();
    }
    this->store_state(dh, output_width, p.dh0, output, this->my_rows(team), outputs(team));
    if (Cell::carries_c) this->store_state(dc, width, p.dc0, hidden, this->my_rows(team), units(team));
    this->sum_over_rows(team.share(this->output_vectors), left_h, !p.h0, dh, output_width, output, p.dstart_h);
    this->sum_over_rows(team.share(vectors), left_c, !p.c0, dc, width, hidden, p.dstart_c);
    gradients.store_sums(team.share(hidden));
  }

  // This thread's, until the next barrier.
  FASTRNN_INLINE Range units(const Team& team) const { return this->my_vectors(team, vectors); }
  FASTRNN_INLINE Range outputs(const Team& team) const { return this->my_vectors(team, this->output_vectors); }

  // The rows of a chunk lie one after the other: they are the depth of the weight gradients' products.
  FASTRNN_INLINE int64_t row_in_chunk(Range times, int64_t t, int64_t b) const {
    return p.before[t] - p.before[times.begin] + b;
  }

  // What the forward pass left of a row, or would have left.
  FASTRNN_INLINE const T* saved(int64_t t, int64_t b) const {
    if (!S::saved_slots) return nullptr;
    return recomputed ? recomputed->row(t, b) : this->saved_at(t, b);
  }
  FASTRNN_INLINE const T* previous_c(int64_t t, int64_t b) const {
    if (recomputed) return recomputed->previous_c(t, b);
    if (this->begins_anew(t, b)) return this->start_c;
    if (!this->has_previous(t, b)) return this->initial_c(b);
    return this->saved_at(this->previous(t), b) + this->slot_of_c * width;
  }

  // dh arrives as dL/dh_t from the steps after t, without dy_t; it leaves as the same for t - 1.
  void step(Team& team, Range times, int64_t t, Range rows) {
    const Factor<T>** da = left_rows.of(team);
    T** result = result_rows.of(team);
    const bool from_end = reverses_sweep(t, rows.size());
    if (p.w_hr) unproject(team, times, t, rows);
    const Range mine = units(team);
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t place = row_in_chunk(times, t, rows.begin + i);
      if (this->zones)
        apply_cell<true>(mine, t, rows.begin + i, place);
      else
        apply_cell<false>(mine, t, rows.begin + i, place);
      if (Cell::carries_c && this->begins_anew(t, rows.begin + i)) this->leave(dc, left_c, width, rows.begin + i, mine);
      da[i] = rounded_dgates(place, dgates + place * gates_width);
    }
    this->sync_units(team);
    if constexpr (Cell::gated) {
      for (int64_t i = 0; i < rows.size(); ++i) result[i] = dgated + (rows.begin + i) * width;
      const Range ours = units(team);
      w_hh_gated.times(team, ours, rows.size(), from_end, {da, this->zero_rows, result});
      for (int64_t i = 0; i < rows.size(); ++i)
        apply_gate(ours, t, rows.begin + i, row_in_chunk(times, t, rows.begin + i));
      this->sync_units(team);
    }
    const bool first = this->previous(t) < 0 || this->previous(t) >= p.times;
    if (first && !p.dh0 && !p.dstart_h) return;        // dL/dh_0 is not wanted
    T* const dread = p.recurrent_mask ? dmasked : dh;  // of h as W_hh reads it
    for (int64_t i = 0; i < rows.size(); ++i) result[i] = dread + (rows.begin + i) * output_width;
    const T* const* init = result;
    if (p.recurrent_mask) init = this->zero_rows;
    w_hh.times(team, outputs(team), rows.size(), from_end, {da, init, result});
    for (int64_t b = rows.begin; p.recurrent_mask && b < rows.end; ++b)
      this->add_masked(dmasked + b * output_width, dh + b * output_width, b, outputs(team));
    for (int64_t b = rows.begin; p.resets && b < rows.end; ++b)
      if (this->begins_anew(t, b)) this->leave(dh, left_h, output_width, b, outputs(team));
  }

  // Through the projection h = W_hr m: dm = (dy + dh) · W_hr. What zoneout has kept of h_{t-1} stays in dh.
  void unproject(Team& team, Range times, int64_t t, Range rows) {
    const Range mine = outputs(team);
    const Factor<T>** sum = left_rows.of(team);
    T** dm = result_rows.of(team);
    for (int64_t i = 0; i < rows.size(); ++i) {
      const T* dy = p.dy.data ? at(p.dy, t, rows.begin + i) : zeros;
      const T* kept_h = this->kept(p.zoneout_h, t, rows.begin + i);
      T* row = doutput + row_in_chunk(times, t, rows.begin + i) * output_width;
      T* dh_row = dh + (rows.begin + i) * output_width;
      for (int64_t u = mine.begin * V::lanes; u < mine.end * V::lanes; u += V::lanes) {
        V both = V::load(dy + u, int(output - u)) + V::load(dh_row + u), kept{};
        if (kept_h) {
          const V m = V::load(kept_h + u, int(output - u));
          kept = m * both, both = (1 - m) * both;
        }
        kept.store(dh_row + u);
        both.store(row + u);
        rounded_doutput.store(rows.begin + i, u, both, int(output - u));
      }
      sum[i] = rounded_doutput(rows.begin + i, row), dm[i] = dunprojected + (rows.begin + i) * width;
    }
    this->sync_units(team);
    w_hr.times(team, units(team), rows.size(), reverses_sweep(t, rows.size()), {sum, this->zero_rows, dm});
  }

  // `place`: of the row in the chunk. With zoneout or without.
  template <bool zones>
  void apply_cell(Range units, int64_t t, int64_t b, int64_t place) {
    T* da_row = dgates + place * gates_width;
    const T* dy = p.dy.data ? at(p.dy, t, b) : zeros;
    const T* devery_c = p.devery_c.data ? at(p.devery_c, t, b) : nullptr;
    const T* saved_row = saved(t, b);
    const T* kept_h = zones && !p.w_hr ? this->kept(p.zoneout_h, t, b) : nullptr;
    const T* kept_c = zones && Cell::carries_c ? this->kept(p.zoneout_c, t, b) : nullptr;
    const T* h_row = kept_h ? saved_row : at(p.y, t, b);  // of the cell, where it saves nothing else
    const T* h_prev_row = Cell::reads_h ? this->previous_h(t, b) : nullptr;
    const T* c_prev_row = Cell::carries_c ? previous_c(t, b) : nullptr;
    for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes) {
      int n = int(hidden - u);
      V save[Cell::saves + 1], w[Cell::vectors + 1], da[S::row_slots] = {}, dc_value{}, dh_prev;
      this->load_vectors(u, w);
      for (int k = 0; k < Cell::saves; ++k) save[k] = V::load(saved_row + k * width + u);
      V dh_value = p.w_hr ? V::load(dunprojected + b * width + u) : V::load(dy + u, n) + V::load(dh + b * width + u);
      V dh_kept{}, dc_kept{};
      V h = Cell::saves ? V{} : V::load(h_row + u, n);
      V h_prev = Cell::reads_h ? V::load(h_prev_row + u, n) : V{};
      V c_prev = Cell::carries_c ? V::load(c_prev_row + u, n) : V{};
      if (Cell::carries_c) dc_value = V::load(dc + b * width + u);
      if (Cell::carries_c && devery_c) dc_value = dc_value + V::load(devery_c + u, n);
      if (kept_h) {
        const V m = V::load(kept_h + u, n);
        dh_kept = m * dh_value, dh_value = (1 - m) * dh_value;
      }
      if (kept_c) {
        const V m = V::load(kept_c + u, n);
        dc_kept = m * dc_value, dc_value = (1 - m) * dc_value;
      }
      Cell::backward(save, w, h, h_prev, c_prev, dh_value, dc_value, da, da + Cell::slots, dh_prev);
      if (kept_h) dh_prev = dh_prev + dh_kept;
      if (kept_c) dc_value = dc_value + dc_kept;
      for (int k = 0; k < S::row_slots; ++k) da[k].store(da_row + k * width + u);
      for (int k = 0; k < Cell::slots; ++k) rounded_dgates.store(place, k * width + u, da[k], n);
      if (Cell::carries_c) dc_value.store(dc + b * width + u);
      if (!p.w_hr) dh_prev.store(dh + b * width + u);
    }
  }

  void apply_gate(Range units, int64_t t, int64_t b, int64_t place) {
    T* da_row = dgates + place * gates_width;
    const T *saved_row = saved(t, b), *h_prev_row = this->previous_h(t, b), *mask = this->mask(b);
    for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes) {
      V save[Cell::saves + 1], da[Cell::slots];
      for (int k = 0; k < Cell::saves; ++k) save[k] = V::load(saved_row + k * width + u);
      for (int k : Cell::recurrent_slots) da[k] = V::load(da_row + k * width + u);
      V dh_prev = V::load(dh + b * width + u), dgated_value = V::load(dgated + b * width + u);
      if (mask) dgated_value = dgated_value * V::load(mask + u, int(hidden - u));
      if constexpr (Cell::gated)
        Cell::gate_backward(save, V::load(h_prev_row + u, int(hidden - u)), dgated_value, da, dh_prev);
      // Not the gated slot: other threads may still be reading it, for their units of the second product.
      for (int k : Cell::recurrent_slots) {
        da[k].store(da_row + k * width + u);
        rounded_dgates.store(place, k * width + u, da[k], int(hidden - u));
      }
      dh_prev.store(dh + b * width + u);
    }
  }

  // The products of a chunk that need no order in time. Rows of dx, and hidden units of the weights, are shared out.
  void products_over_time(Team& team, Range times, bool first) {
    const T **x = x_rows.of(team), **h = h_rows.of(team), **kept = saved_rows.of(team);
    const Factor<T>** da = left_rows.of(team);
    T** dx = result_rows.of(team);
    int64_t count = 0;
    const Range to_mask = team.share(p.before[times.end] - p.before[times.begin]);
    for (int64_t t = times.begin; t < times.end; ++t)
      for (int64_t b = 0; b < p.active[t]; ++b, ++count) {
        x[count] = at(p.x, t, b), h[count] = this->previous_h(t, b);
        const bool fill = to_mask.begin <= count && count < to_mask.end;
        if (masked_h) h[count] = this->masked(h[count], b, masked_h + count * output_width, fill);
        if (Cell::saves) kept[count] = saved(t, b) + (Cell::saves - 1 + bool(p.w_hr)) * width;
        da[count] = rounded_dgates(count, dgates + count * gates_width), dx[count] = at(p.dx, t, b);
      }
    if (p.dx.data) {
      Range mine = team.share(count);
      const T* const* init = this->zero_rows;
      if (p.add_to_dx) init = dx + mine.begin;
      w_ih.times(team, {0, divide_up(p.input_size, V::lanes)}, mine.size(), false,
                 {da + mine.begin, init, dx + mine.begin});
    }
    if (masked_h) team.sync();  // each reads what the others have masked
    gradients.add(team, {count, dgates, doutput, x, h, kept}, times, first);
  }

  Recompute<Cell, T>* recomputed = nullptr;  // where the forward pass saved nothing
  ColumnWeights<T> w_ih, w_hh, w_hh_gated, w_hr;
  Buffer<T> dgates, dh, dmasked, dc, dgated, doutput, dunprojected;
  FactorRows<T> rounded_dgates, rounded_doutput;
  RowPointers<const Factor<T>*> left_rows;  // operands of the product at hand
  RowPointers<T*> result_rows;
  RowPointers<const T*> x_rows, h_rows, saved_rows;  // of a chunk
  Buffer<T> masked_h;                                // of a chunk
  WeightGradients<Cell, T> gradients;
  Buffer<T> left_h, left_c;  // of every row what it left to the learned initial state where it began anew
};

}  // namespace fastrnn::FASTRNN_TARGET
