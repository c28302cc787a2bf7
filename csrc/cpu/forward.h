// The time loop forward. For each chunk of time: x·W_ih for all its rows in one product; then step by step
// h_{t-1}·W_hh on top of it, and the cell. A thread does all of it for its own rows, or for its own hidden units.
#pragma once
#include "gates.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
class Forward : Gates<Cell, T> {
  using G = Gates<Cell, T>;
  using V = Vec<T>;
  using G::p, G::plan, G::hidden, G::output, G::width, G::vectors, G::gates_width, G::chunk_rows, G::at,
      G::output_width;
  // Enough for full tiles of the input product, few enough that the gates stay in the second-level cache until the
  // steps want them: 1 to 5 % faster than 256 for batches (LSTM and GRU, H 128 to 1024), no difference for one row.
  static constexpr int64_t rows_per_chunk = 64;
  // As many, for the same reason, of a larger batch: LSTM T32 B512 H200 9 to 15 % faster, T64 B128 H256 1 to 4 %.
  static constexpr int64_t rows_together = 64;
  // Nothing squashes the rounding error of h = W_hr m, so its sums are kept shorter than the gates'. With 128 the error
  // is 1.45 times that of torch.
  static constexpr int64_t projection_chain = 32;
  const int64_t steps_per_segment = steps_per_checkpoint(p.batch);

 public:
  explicit Forward(const Problem<T>& problem)
      : G(problem, rows_per_chunk), w_hr(plan, plan.recurrent, p.w_hr, output, hidden, G::first_slot, width, p.batch),
        gates(chunk_rows() * gates_width), c(Cell::carries_c ? p.batch * width : 0),
        gated(Cell::gated ? p.batch * width : 0), unprojected(p.w_hr ? p.batch * width : 0),
        factors_of_h(p.recurrent_mask ? 4 * p.batch : 3 * p.batch + 1, output, p.recurrent_mask),
        wide_h(p.narrow_y.data ? 2 * p.batch * output_width : 0), rounded_unprojected(p.w_hr ? p.batch : 0, hidden),
        left_rows(plan.threads, chunk_rows()), previous_rows(plan.threads, p.batch),
        mask_rows(plan.threads, p.recurrent_mask ? p.batch : 0), gate_rows(plan.threads, chunk_rows()),
        gated_rows(plan.threads, p.batch), output_rows(plan.threads, p.batch),
        every_c_rows(plan.threads, p.every_c.data ? p.batch : 0) {
    fill_initial_factors();
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

  int planned_threads() const { return plan.threads; }

  // Once more, on as many threads or fewer. Of the problem nothing has changed but numbers, and where x and y lie.
  void run_again(int threads) {
    plan.from_end = !plan.from_end;
    fill_initial_factors();
    parallel(int(smaller(plan.threads, threads)), [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

  // Two directions of a layer at a time.
  void run_beside(Forward& other) {
    parallel(
        plan.threads, [this](Team& team) { run(team); }, other.plan.threads, [&](Team& team) { other.run(team); },
        plan.tolerable_delay);
  }

 private:
  // Before threads start: a barrier would take longer.
  void fill_initial_factors() const {
    if (!factors_of_h.is_copy()) return;
    for (int64_t b = 0; b < p.batch; ++b) factors_of_h.fill(2 * p.batch + b, this->initial_h(b), this->mask(b));
    for (int64_t b = 0; b < (p.recurrent_mask ? p.batch : 1); ++b)
      factors_of_h.fill(place_of_start(b), this->start_h, this->mask(b));
  }

  void run(Team& team) {
    this->pack(team);
    w_hr.pack(team);
    if (plan.by_rows) team.sync();  // each needs what the others have packed
    const Range rows = this->my_rows(team);
    // Rows are independent: a thread that owns rows takes some through all times before the next.
    const int64_t groups = plan.by_rows && p.times > 1 ? divide_up(rows.size(), rows_together) : 1;
    for (int64_t g = 0; g < groups; ++g)
      run(team, {rows.begin + rows.size() * g / groups, rows.begin + rows.size() * (g + 1) / groups});
    final_states(plan.by_rows ? rows : team.share(p.batch));
    // Else the only barrier is the end of OpenMP's region, where they would spin for milliseconds and no delay is
    // noticed.
    if (plan.by_rows) team.sync();
  }

  void run(Team& team, Range rows) {
    load_initial_c(rows, this->my_vectors(team, vectors));
    // Not after a barrier, at which a team may be dissolved: only_step() does a member's own share. Nor of int8: to
    // round the rows anew for every panel would take longer than what this saves.
    const bool streams = plan.by_rows || !this->rounds_input;
    if (p.times == 1 && !Cell::gated && !p.w_hr && streams && p.w_hh.format != WeightFormat::packed_int8)
      return only_step(team, rows);
    for (int64_t n = 0; n < this->chunks(); ++n) {
      Range times = this->chunk(n, p.reverse);
      this->round_input(team, times, rows);
      input_product(team, times, rows, this->my_vectors(team, vectors));
      for (int64_t i = 0; i < times.size(); ++i) {
        const int64_t t = p.reverse ? times.end - 1 - i : times.begin + i;
        const Range units = this->my_vectors(team, vectors);
        if (p.checkpoints && enters_segment(t)) keep_c(t / steps_per_segment, rows, units);
        step(team, times, t, this->active_rows(rows, t), units);
        this->sync_units(team);
      }
    }
  }

  // One step reads every weight once. So both products and the cell of some units come before those of the next: the
  // weights are one stream, and what it leaves in the cache can be met from the other end by the next call.
  void only_step(Team& team, Range rows) {
    this->round_input(team, {0, 1}, rows);
    const Range now = this->active_rows(rows, 0);
    const Range units = this->my_vectors(team, vectors);
    if (p.checkpoints) keep_c(0, rows, units);
    sweep(units, this->panel_units(rows.size()), plan.from_end, [&](int64_t v, int n) {
      input_product(team, {0, 1}, rows, {v, v + n});
      step(team, {0, 1}, 0, now, {v, v + n});
    });
    this->sync_units(team);
  }

  // A thread may be chunks ahead of one with other rows.
  FASTRNN_INLINE T* gates_row(Range times, int64_t t, int64_t b) const {
    return gates + this->place(times, t, b) * gates_width;
  }

  // Of h in factors_of_h. Two times are enough: h_{t-1} is read while h_t is written. After them come the initial
  // states, and what rows begin anew with, which is one row where there are no masks.
  FASTRNN_INLINE int64_t place_of_h(int64_t t, int64_t b) const { return t % 2 * p.batch + b; }
  FASTRNN_INLINE int64_t place_of_start(int64_t b) const { return 3 * p.batch + (p.recurrent_mask ? b : 0); }
  FASTRNN_INLINE const Factor<T>* previous_factors(int64_t t, int64_t b, const T* h) const {
    if constexpr (!rounds_factors<T>)
      if (!p.recurrent_mask) return h;
    if (this->begins_anew(t, b)) return factors_of_h(place_of_start(b), h);
    return factors_of_h(this->has_previous(t, b) ? place_of_h(this->previous(t), b) : 2 * p.batch + b, h);
  }

  // h_t lies in the output. Where that is bfloat16, it stays in float32 as long as it is a state.
  FASTRNN_INLINE bool narrow_output() const { return rounds_factors<T> && p.narrow_y.data; }
  FASTRNN_INLINE T* row_of_h(int64_t t, int64_t b) const {
    return narrow_output() ? wide_h + place_of_h(t, b) * output_width : at(p.y, t, b);
  }
  FASTRNN_INLINE const T* previous_h(int64_t t, int64_t b) const {
    if (this->begins_anew(t, b)) return this->start_h;
    return this->has_previous(t, b) ? row_of_h(this->previous(t), b) : this->initial_h(b);
  }
  void output_h(int64_t t, Range rows, Range vectors) const {
    if (narrow_output())
      for (int64_t b = rows.begin; b < rows.end; ++b)
        factors_of_h.copy_to(at(p.narrow_y, t, b), place_of_h(t, b), vectors.begin * V::lanes,
                             smaller(output, vectors.end * V::lanes));
  }

  // gates = bias + x · W_ihᵀ, for every row of the chunk.
  void input_product(Team& team, Range times, Range rows, Range units) {
    const Factor<T>** x = left_rows.of(team);
    T** a = gate_rows.of(team);
    int64_t count = 0;
    for (int64_t t = times.begin; t < times.end; ++t) {
      Range now = this->active_rows(rows, t);
      for (int64_t b = now.begin; b < now.end; ++b, ++count)
        x[count] = this->input_row(times, t, b), a[count] = gates_row(times, t, b);
    }
    G::input_product(team, units, count, x, a);
  }

  // gates += h_{t-1} · W_hhᵀ, then the cell.
  void step(Team& team, Range times, int64_t t, Range rows, Range units) {
    const Factor<T>** h = left_rows.of(team);
    const T** h_prev = previous_rows.of(team);
    T **a = gate_rows.of(team), **h_rows = output_rows.of(team), **c_rows = every_c_rows.of(team);
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t b = rows.begin + i;
      h_prev[i] = previous_h(t, b), a[i] = gates_row(times, t, b), h[i] = previous_factors(t, b, h_prev[i]);
      h_rows[i] = p.w_hr ? unprojected + b * width : row_of_h(t, b);
    }
    for (int64_t i = 0; p.every_c.data && i < rows.size(); ++i) c_rows[i] = at(p.every_c, t, rows.begin + i);
    const T** masks = p.recurrent_mask ? mask_rows.of(team) : nullptr;
    for (int64_t i = 0; masks && i < rows.size(); ++i) masks[i] = this->mask(rows.begin + i);
    Factor<T>** g = gated_rows.of(team);
    for (int64_t i = 0; Cell::gated && i < rows.size(); ++i) g[i] = gated + (rows.begin + i) * width;
    this->begin_anew(t, rows, units, c);
    const typename G::CellRows now = {t,
                                      rows.begin,
                                      a,
                                      h_prev,
                                      masks,
                                      Cell::carries_c ? c + rows.begin * width : nullptr,
                                      h_rows,
                                      p.every_c.data ? c_rows : nullptr,
                                      p.saved.data ? this->saved_at(t, rows.begin) : nullptr,
                                      p.saved.row,
                                      p.w_hr ? &rounded_unprojected : &factors_of_h,
                                      p.w_hr ? rows.begin : place_of_h(t, rows.begin)};
    const bool from_end = reverses_sweep(t, rows.size());
    this->recurrent_product(team, units, rows.size(), from_end, h, h_prev, masks, a, g, [&](Range vectors) {
      this->apply_cell(vectors, rows.size(), now);
      if (!p.w_hr) output_h(t, rows, vectors);
    });
    if (p.w_hr) project(team, t, rows, from_end);
  }

  // h = W_hr m, of LSTM with a projection.
  void project(Team& team, int64_t t, Range rows, bool from_end) {
    const Factor<T>** m = left_rows.of(team);
    T** h = output_rows.of(team);
    for (int64_t i = 0; i < rows.size(); ++i) {
      m[i] = rounded_unprojected(rows.begin + i, unprojected + (rows.begin + i) * width);
      h[i] = row_of_h(t, rows.begin + i);
    }
    this->sync_units(team);
    w_hr.times(team, this->my_vectors(team, this->output_vectors), rows.size(), true, from_end,
               {m, this->zero_rows, h, 0, 1, projection_chain}, [&](Range vectors) {
                 if (factors_of_h.is_copy() || p.zoneout_h.data) finish_h(t, rows, vectors, h);
                 output_h(t, rows, vectors);
               });
  }

  // Of a projected h: zoneout, and the factors of the next step.
  void finish_h(int64_t t, Range rows, Range vectors, T* const* h) const {
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t b = rows.begin + i;
      const T *h_prev = previous_h(t, b), *kept_h = this->kept(p.zoneout_h, t, b), *mask = this->mask(b);
      for (int64_t u = vectors.begin * V::lanes; u < vectors.end * V::lanes; u += V::lanes) {
        const int n = int(output - u);
        V value = V::load(h[i] + u, n);
        if (kept_h) value = blend(V::load(kept_h + u, n), V::load(h_prev + u, n), value), value.store(h[i] + u, n);
        factors_of_h.store(place_of_h(t, b), u, mask ? value * V::load(mask + u, n) : value, n);
      }
    }
  }

  FASTRNN_INLINE bool enters_segment(int64_t t) const {
    return p.reverse ? t == p.times - 1 || (t + 1) % steps_per_segment == 0 : t % steps_per_segment == 0;
  }

  // For recompute.h.
  void keep_c(int64_t segment, Range rows, Range units) {
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes)
        V::load(c + b * width + u).store(p.checkpoints + (segment * p.batch + b) * width + u);
  }

  void load_initial_c(Range rows, Range units) {
    if (!Cell::carries_c) return;
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes)
        V::load(this->initial_c(b) + u, int(hidden - u)).store(c + b * width + u);
  }

  // Row b's last time is 0 backwards in time, else the last at which it was active. It may be active at none.
  void final_states(Range rows) {
    int64_t t = p.times - 1;
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      while (t > 0 && b >= p.active[t]) --t;
      const T* h = b < p.active[0] ? row_of_h(p.reverse ? 0 : t, b) : this->initial_h(b);
      T *hn = p.hn + this->row(b) * output, *cn = p.cn + this->row(b) * hidden;
      for (int64_t u = 0; u < output; ++u) hn[u] = h[u];
      for (int64_t u = 0; Cell::carries_c && u < hidden; ++u) cn[u] = c[b * width + u];
    }
  }

  ForwardWeights<T, 1> w_hr;
  Buffer<T> gates, c;
  Buffer<Factor<T>> gated;
  Buffer<T> unprojected;
  MaskedRows<T> factors_of_h;
  Buffer<T> wide_h;
  MaskedRows<T> rounded_unprojected;
  RowPointers<const Factor<T>*> left_rows;  // what a product multiplies by the weights
  RowPointers<const T*> previous_rows, mask_rows;
  RowPointers<T*> gate_rows;
  RowPointers<Factor<T>*> gated_rows;
  RowPointers<T*> output_rows, every_c_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
