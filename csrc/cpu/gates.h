// What one row asks of a layer: gates = bias + x · W_ihᵀ + h_{t-1} · W_hhᵀ, then the cell. The forward loop runs it,
// and recompute.h runs it again where the forward pass saved nothing: the same operations in the same order, and so
// the same bits.
#pragma once
#include "packed.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
class Gates : protected Sequence<Cell, T> {
  using S = Sequence<Cell, T>;
  using V = Vec<T>;

 protected:
  using S::p, S::plan, S::hidden, S::output, S::width, S::vectors, S::gates_width, S::chunk_rows, S::at, S::first_slot,
      S::gated_slots;
  const bool reads_narrow_x = rounds_factors<T> && p.narrow_x.data && p.input_size % 2 == 0;  // whole pairs
  const bool rounds_input = rounds_factors<T> && !reads_narrow_x;

  Gates(const Problem<T>& problem, int64_t rows_per_chunk)
      : S(problem, rows_per_chunk),
        w_ih(plan, plan.input, p.w_ih, hidden, p.input_size, Cell::input_slots, width, chunk_rows()),
        w_hh(plan, plan.recurrent, p.w_hh, hidden, output, Cell::recurrent_slots, width, chunk_rows(), p.heads),
        w_hh_gated(plan, plan.recurrent, Cell::gated ? gated_part(p.w_hh) : Weights<T>{}, hidden, output, gated_slots,
                   width, chunk_rows(), p.heads),
        rounded_x(rounds_input ? chunk_rows() : 0, p.input_size), bias(gates_width), bias_rows(1, chunk_rows()) {
    bias.clear(gates_width);
    bias_rows.fill(bias);
    add_bias(p.b_ih, Cell::input_gates, Cell::input_slots);
    add_bias(p.b_hh, Cell::recurrent_gates, Cell::recurrent_slots);
    if constexpr (Cell::gated) add_bias(p.b_hh.from(Cell::recurrent_gates * hidden), 1, gated_slots);
  }

  void pack(const Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    w_hh_gated.pack(team);
  }

  // Vectors of units in a panel of the recurrent product, which depends on its rows.
  FASTRNN_INLINE int panel_units(int64_t count) const { return w_hh.units(count); }

  // Where products do not read rows as they are: calls fill(place, t, b) for those of a chunk. Threads that own units
  // share the work.
  template <class Fill>
  void each_of_chunk(Team& team, Range times, Range rows, Fill fill) const {
    const int64_t count = times.size() * rows.size();
    const Range mine = plan.by_rows ? Range{0, count} : team.share(count);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t t = times.begin + i / rows.size(), b = rows.begin + i % rows.size();
      if (b < p.active[t]) fill(this->place(times, t, b), t, b);
    }
    this->sync_units(team);
  }
  void round_input(Team& team, Range times, Range rows) const {
    if (!rounds_input) return;
    each_of_chunk(team, times, rows, [this](int64_t place, int64_t t, int64_t b) {
      if (p.narrow_x.data)
        rounded_x.copy_from(place, at(p.narrow_x, t, b));
      else
        rounded_x.fill(place, at(p.x, t, b));
    });
  }
  FASTRNN_INLINE const Factor<T>* input_row(Range times, int64_t t, int64_t b) const {
    if (reads_narrow_x) return static_cast<const Factor<T>*>(static_cast<const void*>(at(p.narrow_x, t, b)));
    return rounded_x(this->place(times, t, b), p.x.data ? at(p.x, t, b) : nullptr);
  }

  // gates = bias + x · W_ihᵀ
  void input_product(const Team& team, Range units, int64_t count, const Factor<T>* const* x, T* const* gates) {
    w_ih.times(team, units, count, false, false, {x, bias_rows, gates},
               [&](Range vectors) { fill_other_slots(vectors, gates, count); });
  }

  // gates += h_{t-1} · W_hhᵀ, each panel followed by then(vectors). `gated`: room for the rows of the second product.
  // `masks`: what h, but not h_prev, is multiplied by already; null without recurrent dropout.
  template <class Then>
  void recurrent_product(Team& team, Range units, int64_t count, bool from_end, const Factor<T>* const* h,
                         const T* const* h_prev, const T* const* masks, T* const* gates, Factor<T>* const* gated,
                         Then then) {
    if constexpr (Cell::gated) {
      w_hh.times(team, units, count, false, from_end, {h, gates, gates},
                 [&](Range vectors) { apply_gate(vectors, count, gates, h_prev, masks, gated); });
      this->sync_units(team);
      w_hh_gated.times(team, this->my_vectors(team, vectors), count, false, from_end, {gated, gates, gates}, then);
    } else {
      w_hh.times(team, units, count, false, from_end, {h, gates, gates}, then);
    }
  }

  // Rows of one time t, from row `first` of the batch on. Row i of c and saved lies i steps on, of factors i rows after
  // `place`. h, every_c, saved and factors are null where they are not wanted, masks as above, and saved may be the
  // gates themselves.
  struct CellRows {
    int64_t t, first;
    T* const* gates;
    const T *const *h_prev, *const *masks;
    T* c;
    T *const *h, *const *every_c;
    T* saved;
    int64_t saved_step;
    const MaskedRows<T>* factors = nullptr;
    int64_t place = 0;
  };

  void apply_cell(Range units, int64_t count, const CellRows& rows) {
    if (rows.masks || this->zones)
      apply_cell<true>(units, count, rows);
    else
      apply_cell<false>(units, count, rows);
  }

  // With recurrent dropout or zoneout, or with neither.
  template <bool regularized>
  void apply_cell(Range units, int64_t count, const CellRows& rows) {
    for (int64_t i = 0; i < count; ++i) {
      const T* mask = regularized && rows.masks ? rows.masks[i] : nullptr;
      // Of a projected h the loop itself keeps some, and makes the factors.
      const T* kept_h = regularized && !p.w_hr ? this->kept(p.zoneout_h, rows.t, rows.first + i) : nullptr;
      const T* kept_c = regularized && Cell::carries_c ? this->kept(p.zoneout_c, rows.t, rows.first + i) : nullptr;
      T* c_row = Cell::carries_c ? rows.c + i * width : nullptr;
      T* h_row = rows.h ? rows.h[i] : nullptr;
      T* every_c_row = rows.every_c ? rows.every_c[i] : nullptr;
      T* saved_row = rows.saved ? rows.saved + i * rows.saved_step : nullptr;
      for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes) {
        int n = int(hidden - u);
        V a[Cell::slots], w[Cell::vectors + 1], save[Cell::saves + 1], h, state{};
        this->load_vectors(u, w);
        for (int k = 0; k < Cell::slots; ++k) a[k] = V::load(rows.gates[i] + k * width + u);
        V h_prev = Cell::reads_h ? V::load(rows.h_prev[i] + u, n) : V{};
        if (Cell::carries_c) state = V::load(c_row + u);
        const V state_before = state;
        Cell::forward(a, w, h_prev, state, h, save);
        const V h_of_cell = h;
        if (kept_c) state = blend(V::load(kept_c + u, n), state_before, state);
        if (kept_h) h = blend(V::load(kept_h + u, n), V::load(rows.h_prev[i] + u, n), h);
        if (h_row) h.store(h_row + u, n);
        if (rounds_factors<T> || regularized)
          if (rows.factors) rows.factors->store(rows.place + i, u, mask && !p.w_hr ? h * V::load(mask + u, n) : h, n);
        if (Cell::carries_c) state.store(c_row + u);
        if (Cell::carries_c && every_c_row) state.store(every_c_row + u, n);
        if (saved_row) {
          // What the second product of a gated cell multiplied.
          if (Cell::gated && mask) save[Cell::saves - 1] = save[Cell::saves - 1] * V::load(mask + u, n);
          for (int k = 0; k < Cell::saves; ++k) save[k].store(saved_row + k * width + u);
          if (p.w_hr || (!Cell::saves && kept_h)) h_of_cell.store(saved_row + Cell::saves * width + u);
          if (kept_c) state.store(saved_row + this->slot_of_c * width + u);
        }
      }
      if (saved_row) clear_padding(saved_row, S::saved_row / width, units);
    }
  }

 private:
  // The second product's: a matrix of its own if it is packed.
  Weights<T> gated_part(const Weights<T>& w_hh) const {
    if (!is_packed(w_hh.format)) return w_hh.from(S::gated_weights);
    const int64_t first = packed_sizes(w_hh.format, Cell::recurrent_gates, hidden, output, p.heads).matrix;
    return {static_cast<const char*>(w_hh.data) + first, w_hh.format};
  }

  // Zeros where slots are wider than the vectors of units: what an operator returns shows nothing of what memory held.
  FASTRNN_INLINE void clear_padding(T* row, int64_t slots, Range units) {
    if (units.end < vectors) return;
    for (int64_t k = 0; k < slots; ++k)
      for (int64_t u = vectors * V::lanes; u < width; u += V::lanes) V{}.store(row + k * width + u);
  }

  // A slot that no gate of W_ih fills (GRU's recurrent half of n) starts from its bias.
  void fill_other_slots(Range units, T* const* rows, int64_t count) {
    for (int slot = Cell::input_gates; slot < Cell::slots; ++slot)
      for (int64_t i = 0; i < count; ++i)
        for (int64_t u = slot * width + units.begin * V::lanes; u < slot * width + units.end * V::lanes; u += V::lanes)
          V::load(bias + u).store(rows[i] + u);
  }

  void apply_gate(Range units, int64_t rows, T* const* gate_rows, const T* const* h_prev_rows, const T* const* masks,
                  Factor<T>* const* gated_rows) {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t u = units.begin * V::lanes; u < units.end * V::lanes; u += V::lanes) {
        V a[Cell::slots];
        int n = int(hidden - u);
        for (int k = 0; k < Cell::slots; ++k) a[k] = V::load(gate_rows[i] + k * width + u);
        if constexpr (Cell::gated) {
          V gated = Cell::gate(a, V::load(h_prev_rows[i] + u, n));
          if (masks) gated = gated * V::load(masks[i] + u, n);
          Factors<T>::store(gated_rows[i], u, gated, n);
        }
        for (int k = 0; k < Cell::slots; ++k) a[k].store(gate_rows[i] + k * width + u);
      }
  }

  void add_bias(const Weights<T>& b, int count, const int* slots) {
    for (int g = 0; b && g < count; ++g)
      visit_weights(b, g * hidden, [&](auto* from) {
        for (int64_t u = 0; u < hidden; u += V::lanes) {
          T* to = bias + slots[g] * width + u;
          (V::load(to) + load_weights(from + u, int(hidden - u))).store(to);
        }
      });
  }

  ForwardWeights<T, Cell::input_gates> w_ih;
  ForwardWeights<T, Cell::recurrent_gates> w_hh;
  ForwardWeights<T, 1> w_hh_gated;
  FactorRows<T> rounded_x;
  Buffer<T> bias;
  RowPointers<const T*> bias_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
