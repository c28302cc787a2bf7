// W of a user's cell made ready for the tiles, as GateWeights (weights.h) does it where the number of gates is known
// when the loop is compiled: C[i] = init[i] + A[i] · Wᵀ for W of some gates, each (hidden, depth), stacked.
//
// Vectors of outputs go unit by unit, each with all its gates, and a panel is the next four of them. So a thread that
// owns units has full panels, whatever the number of gates, and all gates of its units when it is done. With several
// heads the matrix of each gate is block diagonal (diagonal.h).
#pragma once
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class CellWeights {
  using V = Vec<T>;

 public:
  // Gate g goes to slots[g] of C, whose slots have `width` numbers, whole vectors.
  CellWeights(const Plan& plan, Packing packing, const T* weight, int gates, int64_t hidden, int64_t depth,
              const int* slots, int64_t width, int64_t heads = 1)
      : plan(plan), packing(packing), weight(weight), diagonal(heads, hidden, depth), gates(gates), hidden(hidden),
        width(width), slots(slots), vectors(divide_up(hidden, int64_t(V::lanes))),
        panel_depth(diagonal.longest_window((max_vectors + gates - 2) / int(larger(1, gates)) + 1)),
        packed(packing == Packing::ahead ? vectors * gates * panel_depth * V::lanes : 0),
        windows(packed && heads > 1 ? plan.threads * window_numbers() : 0) {}

  void pack(const Team& team) {
    if (packing != Packing::ahead) return;
    const Range of_units = team.share(vectors);
    Range mine{of_units.begin * gates, of_units.end * gates};
    if (plan.by_rows) mine = panels_to_pack(team, true, vectors * gates, max_vectors);
    sweep(mine, max_vectors, false,
          [&](int64_t i, int n) { each_panel(i, n, [&](int64_t i, int n) { pack_panel(team, i, n); }); });
  }

  // For the vectors of units `mine`. `from_end`: see sweep().
  void times(const Team& team, Range mine, int64_t count, bool from_end, const Operands<T>& rows) const {
    if (!count) return;
    // The shares of a team that was dissolved are visited one by one: panels begin where they do.
    sweep(team, plan.by_rows, vectors, mine, int(vectors), from_end, [&](int64_t v, int of_share) {
      sweep({v * gates, (v + of_share) * gates}, max_vectors, from_end, [&](int64_t i, int n) {
        if (packing == Packing::none) return dot_products(i, n, count, rows);
        each_panel(i, n, [&](int64_t i, int n) { diagonal.times(panel(i, n), window(i, n), count, rows); });
      });
    });
  }

 private:
  // Of vector i: the first of its rows of W, how many of them exist, where it begins in a row of C.
  const T* rows_of(int64_t i) const {
    return weight + (i % gates * hidden + i / gates * V::lanes) * diagonal.heads.depth;
  }
  int outputs(int64_t i) const { return int(smaller(V::lanes, hidden - i / gates * V::lanes)); }
  int64_t column(int64_t i) const { return slots[i % gates] * width + i / gates * V::lanes; }

  // As Diagonal::each_panel, of vectors with all gates.
  template <class Visit>
  void each_panel(int64_t i, int n, Visit visit) const {
    const int64_t of_head = diagonal.heads.outputs / V::lanes * gates;
    if (diagonal.one_head() || diagonal.heads.outputs % V::lanes) return visit(i, n);
    for (const int64_t end = i + n; i < end; i += n) {
      n = int(smaller(end - i, of_head - i % of_head));
      visit(i, n);
    }
  }

  // What n vectors of outputs, from i on, read of a row.
  Range window(int64_t i, int n) const {
    const int64_t first = i / gates;
    return diagonal.window(first, (i + n - 1) / gates - first + 1);
  }
  // A vector of rows over a window.
  int64_t window_numbers() const { return V::lanes * panel_depth * Factors<T>::numbers; }

  Factor<T>* place(int64_t i) const { return packed + i * panel_depth * V::lanes; }

  void pack_panel(const Team& team, int64_t i, int n) const {
    for (int j = 0; j < n; ++j) {
      const T* rows = rows_of(i + j);
      int64_t depth = diagonal.heads.depth;
      if (!diagonal.one_head()) {
        T* room = windows + team.rank * window_numbers();
        rows = diagonal.rows(rows, (i + j) / gates * V::lanes, outputs(i + j), window(i, n), room);
        depth = window(i, n).size() * Factors<T>::numbers;
      }
      pack_transposed<T>(rows, depth, outputs(i + j), depth, place(i) + j * V::lanes, n * V::lanes);
    }
  }

  Panel<T> panel(int64_t i, int n) const {
    Panel<T> panel{place(i), n * V::lanes, n, V::lanes, {}};
    for (int j = 0; j < n; ++j) panel.column[j] = column(i + j);
    return panel;
  }

  void dot_products(int64_t first, int n, int64_t count, const Operands<T>& rows) const {
    const int64_t depth = diagonal.heads.depth;
    for (int64_t i = first; i < first + n; ++i) {
      const T* next = i + 1 < vectors * gates ? rows_of(i + 1) : rows_of(first);
      const int64_t unit = i / gates * V::lanes;
      diagonal.each_head(unit, outputs(i), [&](int64_t output, int of_head, int64_t number) {
        const int before = int(output - unit);
        const int stored = before + of_head == outputs(i) ? V::lanes - before : of_head;
        dots<T>(rows_of(i) + before * depth, next, depth, of_head, depth, count,
                {rows.a, rows.init, rows.c, number, 1, rows.chain}, column(i) + before, stored);
      });
    }
  }

  const Plan& plan;
  const Packing packing;
  const T* const weight;
  const Diagonal<T> diagonal;
  const int gates;
  const int64_t hidden, width;
  const int* const slots;
  const int64_t vectors, panel_depth;
  Buffer<Factor<T>> packed;
  Buffer<T> windows;  // as in GateWeights
};

}  // namespace fastrnn::FASTRNN_TARGET
