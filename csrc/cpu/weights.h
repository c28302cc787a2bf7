// A weight matrix made ready for the tiles, in the two orientations that a recurrent layer needs: A · Wᵀ on the way
// forward (GateWeights), A · W on the way back (ColumnWeights). Both are cut into panels of columns; a panel is packed
// so that the product reads it as one stream.
#pragma once
#include "diagonal.h"
#include "factor_rows.h"

namespace fastrnn::FASTRNN_TARGET {

// The vectors of columns a thread packs. Where each thread uses only what it packs, its panels begin where its share
// does; where all threads use all panels (`shared`), all must agree where panels of `units` vectors begin.
FASTRNN_INLINE Range panels_to_pack(const Team& team, bool shared, int64_t vectors, int units) {
  if (!shared) return team.share(vectors);
  Range panels = team.share(divide_up(vectors, units));
  return {panels.begin * units, smaller(panels.end * units, vectors)};
}

// Calls visit(first vector, count) for each panel of up to `units` of the vectors `mine`.
template <class Visit>
FASTRNN_INLINE void sweep(Range mine, int units, bool from_end, Visit visit) {
  const int64_t panels = divide_up(mine.size(), units);
  for (int64_t i = 0; i < panels; ++i) {
    int64_t v = mine.begin + (from_end ? panels - 1 - i : i) * units;
    visit(v, int(smaller(units, mine.end - v)));
  }
}

// The same where panels may begin where the shares of `vectors` do (see panels_to_pack). A member that does the shares
// of others too, in a team that was dissolved, uses their panels as they were packed.
template <class Visit>
FASTRNN_INLINE void sweep(const Team& team, bool shared, int64_t vectors, Range mine, int units, bool from_end,
                          Visit visit) {
  const int parts = shared || team.last - team.first <= 1 ? 1 : team.size;
  for (int i = 0; i < parts; ++i)
    sweep(parts == 1 ? mine : team.share_number(from_end ? parts - 1 - i : i, vectors), units, from_end, visit);
}

// Whether step t goes through the weights from their end. Where they are more than a cache holds, those that the
// step before read last are still there: T100 B1 H512, two threads, 1.34 times torch's speed instead of 1.06. With rows
// for more than one tile it costs more than it gains: it spoils the fetching of the next panel: T128 B32 H128, 1.04
// instead of 1.26. One tile does not fetch: LSTM T20 B3 H512 1.60 to 1.54 ms, GRU 1.27 to 1.17.
FASTRNN_INLINE bool reverses_sweep(int64_t t, int64_t rows) { return rows <= 6 && t % 2; }

// C[i] = init[i] + A[i] · Wᵀ for W of `gates` blocks, each (outputs, depth), stacked; gate g goes to slots[g] of C.
// A panel is a few vectors of units with all their gates: [k][gate][vector][lane]. With several heads each block is
// block diagonal (diagonal.h).
template <class T, int gates>
class GateWeights {
  using V = Vec<T>;

 public:
  static constexpr int units = max_vectors / gates;  // vectors of them in a panel

  GateWeights(const Plan& plan, Packing packing, const Weights<T>& weight, int64_t outputs, int64_t depth,
              const int* slots, int64_t width, int64_t heads = 1)
      : plan(plan), packing(packing), weight(weight), diagonal(heads, outputs, depth), outputs(outputs), width(width),
        slots(slots), vectors(divide_up(outputs, V::lanes)), panel_depth(diagonal.longest_window(units)),
        packed(weight ? packed_vectors() * gates * panel_depth * V::lanes : 0),
        windows(packed && heads > 1 ? plan.threads * window_numbers() : 0) {}

  void pack(const Team& team) {
    if (!weight || packing != Packing::ahead) return;
    sweep(panels_to_pack(team, plan.by_rows, vectors, units), units, false, [&](int64_t v, int n) {
      diagonal.each_panel(
          v, n, [&](int64_t v, int n) { pack_panel(team, v, n, packed + v * gates * panel_depth * V::lanes); });
    });
  }

  // For the vectors of units `mine`, panel by panel; `then(vectors)` follows each panel while its part of C is still in
  // the nearest cache. `exact`: the rows of C end with the last unit, else they are padded to whole vectors.
  // `from_end`: see sweep().
  template <class Then>
  void times(const Team& team, Range mine, int64_t count, bool exact, bool from_end, const Operands<T>& rows,
             Then then) const {
    each_panel(team, mine, from_end, [&](int64_t v, int n) {
      if (packing == Packing::none) {
        if constexpr (!rounds_factors<T>) dot_products(v, n, count, exact, from_end, rows);
      } else {
        const bool at_use = packing == Packing::at_use;
        Factor<T>* place = packed + (at_use ? team.rank * units : v) * gates * panel_depth * V::lanes;
        if (at_use) pack_panel(team, v, n, place);
        diagonal.times(panel(place, v, n, exact), diagonal.window(v, n), count, rows);
      }
      then(Range{v, v + n});
    });
  }

 private:
  template <class Visit>
  FASTRNN_INLINE void each_panel(const Team& team, Range mine, bool from_end, Visit visit) const {
    sweep(team, plan.by_rows, vectors, mine, units, from_end,
          [&](int64_t v, int n) { diagonal.each_panel(v, n, visit); });
  }

  int64_t packed_vectors() const {
    return packing == Packing::none ? 0 : packing == Packing::ahead ? vectors : plan.threads * units;
  }

  // A vector of rows over a window.
  int64_t window_numbers() const { return V::lanes * panel_depth * Factors<T>::numbers; }

  void pack_panel(const Team& team, int64_t v, int n, Factor<T>* place) const {
    const Range window = diagonal.window(v, n);
    for (int g = 0; g < gates; ++g)
      for (int j = 0; j < n; ++j) {
        const int64_t unit = (v + j) * V::lanes;
        const int exist = int(smaller(V::lanes, outputs - unit));
        visit_weights(weight, (g * outputs + unit) * diagonal.heads.depth, [&](auto* rows) {
          int64_t depth = diagonal.heads.depth;
          if (!diagonal.one_head()) {
            rows = diagonal.rows(rows, unit, exist, window, windows + team.rank * window_numbers());
            depth = window.size() * Factors<T>::numbers;
          }
          pack_transposed<T>(rows, depth, exist, depth, place + (g * n + j) * V::lanes, int64_t(gates) * n * V::lanes);
        });
      }
  }

  Panel<T> panel(const Factor<T>* place, int64_t v, int n, bool exact) const {
    int tail = exact ? int(smaller(V::lanes, outputs - (v + n - 1) * V::lanes)) : V::lanes;
    Panel<T> panel{place, gates * n * V::lanes, gates * n, tail, {}};
    for (int g = 0; g < gates; ++g)
      for (int j = 0; j < n; ++j) panel.column[g * n + j] = slots[g] * width + (v + j) * V::lanes;
    return panel;
  }

  void dot_products(int64_t first, int n, int64_t count, bool exact, bool from_end, const Operands<T>& rows) const {
    const int64_t after = from_end ? first - units : first + n;  // the panel after this one
    const int64_t depth = diagonal.heads.depth;
    for (int g = 0; g < gates; ++g)
      for (int64_t v = first; v < first + n; ++v) {
        const int64_t unit = v * V::lanes, row = g * outputs + unit, column = slots[g] * width + unit;
        const int exist = int(smaller(V::lanes, outputs - unit)), stored = exact ? exist : V::lanes;
        int64_t next = v + 1 < first + n ? row + V::lanes : (g + 1) * outputs + first * V::lanes;
        if (next >= gates * outputs) next = after >= 0 && after < vectors ? after * V::lanes : row;
        visit_weights(weight, row * depth, [&](auto* w) {
          diagonal.each_head(unit, exist, [&](int64_t output, int of_head, int64_t number) {
            const int64_t before = output - unit;
            const bool last = before + of_head == exist;
            dots<T>(w + before * depth, w + (next - row) * depth, depth, of_head, depth, count,
                    {rows.a, rows.init, rows.c, number, 1, rows.chain}, column + before,
                    last ? int(stored - before) : of_head);
          });
        });
      }
  }

  const Plan& plan;
  const Packing packing;
  const Weights<T> weight;
  const Diagonal<T> diagonal;
  const int64_t outputs, width;
  const int* slots;
  const int64_t vectors, panel_depth;
  Buffer<Factor<T>> packed;
  Buffer<T> windows;  // of each thread, where it lays out rows with several heads before it packs them
};

// C[i] = init[i] + sum over gates g of A[i][slots[g]] · W_g for W of `gates` blocks, each (depth, columns), stacked.
// A panel is four vectors of columns: [gate][k][vector][lane]; without packing it is W itself, unless it ends in the
// middle of a vector or is narrower. With several heads each block is block diagonal (diagonal.h).
template <class T>
class ColumnWeights {
  using V = Vec<T>;

 public:
  // `shared`: every thread uses all of it, as of any weights where threads own rows.
  ColumnWeights(const Plan& plan, const Weights<T>& weight, int gates, int64_t depth, int64_t columns, const int* slots,
                int64_t width, bool shared = false, int64_t heads = 1)
      : plan(plan), shared(shared || plan.by_rows), weight(weight), diagonal(heads, columns, depth), gates(gates),
        depth(depth), columns(columns), width(width), slots(slots), vectors(divide_up(columns, V::lanes)),
        panel_depth(diagonal.longest_window(max_vectors)),
        packed(weight && needs_packing() ? vectors * gates * panel_depth * V::lanes : 0),
        windows(packed && heads > 1 ? plan.threads * window_numbers() : 0) {}

  void pack(const Team& team) {
    if (!weight || !needs_packing()) return;
    const Range mine = panels_to_pack(team, shared, vectors, max_vectors);
    sweep(mine, max_vectors, false,
          [&](int64_t v, int n) { diagonal.each_panel(v, n, [&](int64_t v, int n) { pack_panel(team, v, n); }); });
  }

  void times(const Team& team, Range mine, int64_t count, bool from_end, const Operands<T>& rows) const {
    sweep(team, shared, vectors, mine, max_vectors, from_end, [&](int64_t v, int n) {
      diagonal.each_panel(v, n, [&](int64_t v, int n) {
        const Range window = diagonal.window(v, n);
        for (int g = 0; g < gates; ++g)
          diagonal.times(panel(v, n, g, window), window, count,
                         {rows.a, g ? rows.c : rows.init, rows.c, factors_in<T>(slots[g] * width)});
      });
    });
  }

 private:
  // One step needs each weight once and W can be read as it lies: packing it would cost more than it saves.
  FASTRNN_INLINE bool needs_packing() const {
    return plan.backward == Packing::ahead || columns % V::lanes || weight.format != WeightFormat::same ||
           !diagonal.one_head();
  }

  // A panel's columns over a window.
  int64_t window_numbers() const { return max_vectors * V::lanes * panel_depth * Factors<T>::numbers; }

  void pack_panel(const Team& team, int64_t v, int n) const {
    const Range window = diagonal.window(v, n);
    for (int g = 0; g < gates; ++g) {
      Factor<T>* const place = packed + v * gates * panel_depth * V::lanes + g * n * window.size() * V::lanes;
      visit_weights(weight, g * depth * diagonal.heads.outputs, [&](auto* of_gate) {
        if (diagonal.one_head())
          return pack_columns<T>([=, this](int64_t k) { return of_gate + v * V::lanes + k * columns; },
                                 columns - v * V::lanes, depth, place, n * V::lanes);
        auto* const rows =
            diagonal.columns(of_gate, v * V::lanes, n * V::lanes, window, windows + team.rank * window_numbers());
        pack_columns<T>([=](int64_t k) { return rows + k * n * V::lanes; }, n * V::lanes,
                        window.size() * Factors<T>::numbers, place, n * V::lanes);
      });
    }
  }

  Panel<T> panel(int64_t v, int n, int gate, Range window) const {
    if (needs_packing())
      return column_panel<T>(packed + (v * gates * panel_depth + gate * n * window.size()) * V::lanes, n * V::lanes,
                             columns, v, n);
    const void* where = weight.numbers() + gate * depth * columns + v * V::lanes;
    return column_panel<T>(static_cast<const Factor<T>*>(where), columns, columns, v, n);
  }

  const Plan& plan;
  const bool shared;
  const Weights<T> weight;
  const Diagonal<T> diagonal;
  const int gates;
  const int64_t depth, columns, width;
  const int* slots;
  const int64_t vectors, panel_depth;
  Buffer<Factor<T>> packed;
  Buffer<T> windows;  // as in GateWeights
};

}  // namespace fastrnn::FASTRNN_TARGET
