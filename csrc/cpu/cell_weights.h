// W of a user's cell made ready for the tiles, as GateWeights (weights.h) does it where the number of gates is known
// when the loop is compiled: C[i] = init[i] + A[i] · Wᵀ for W of some gates, each (hidden, depth), stacked.
//
// Vectors of outputs go unit by unit, each with all its gates, and a panel is the next four of them. So a thread that
// owns units has full panels, whatever the number of gates, and all gates of its units when it is done.
#pragma once
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class CellWeights {
  using V = Vec<T>;

 public:
  // Gate g goes to slots[g] of C, whose slots have `width` numbers, whole vectors.
  CellWeights(const Plan& plan, Packing packing, const T* weight, int gates, int64_t hidden, int64_t depth,
              const int* slots, int64_t width)
      : plan(plan), packing(packing), weight(weight), gates(gates), hidden(hidden), depth(depth), width(width),
        slots(slots), vectors(divide_up(hidden, int64_t(V::lanes))),
        packed(packing == Packing::ahead ? vectors * gates * factors_in<T>(depth) * V::lanes : 0) {}

  void pack(const Team& team) {
    if (packing != Packing::ahead) return;
    const Range of_units = team.share(vectors);
    Range mine{of_units.begin * gates, of_units.end * gates};
    if (plan.by_rows) mine = panels_to_pack(team, true, vectors * gates, max_vectors);
    sweep(mine, max_vectors, false, [this](int64_t i, int n) {
      for (int j = 0; j < n; ++j)
        pack_transposed<T>(rows_of(i + j), depth, outputs(i + j), depth, place(i) + j * V::lanes, n * V::lanes);
    });
  }

  // For the vectors of units `mine`. `from_end`: see sweep().
  void times(const Team& team, Range mine, int64_t count, bool from_end, const Operands<T>& rows) const {
    if (!count) return;
    // The shares of a team that was dissolved are visited one by one: panels begin where they do.
    sweep(team, plan.by_rows, vectors, mine, int(vectors), from_end, [&](int64_t v, int of_share) {
      sweep({v * gates, (v + of_share) * gates}, max_vectors, from_end, [&](int64_t i, int n) {
        if (packing == Packing::none)
          dot_products(i, n, count, rows);
        else
          product(panel(i, n), count, factors_in<T>(depth), rows);
      });
    });
  }

 private:
  // Of vector i: the first of its rows of W, how many of them exist, where it begins in a row of C.
  const T* rows_of(int64_t i) const { return weight + (i % gates * hidden + i / gates * V::lanes) * depth; }
  int outputs(int64_t i) const { return int(smaller(V::lanes, hidden - i / gates * V::lanes)); }
  int64_t column(int64_t i) const { return slots[i % gates] * width + i / gates * V::lanes; }

  Factor<T>* place(int64_t i) const { return packed + i * factors_in<T>(depth) * V::lanes; }

  Panel<T> panel(int64_t i, int n) const {
    Panel<T> panel{place(i), n * V::lanes, n, V::lanes, {}};
    for (int j = 0; j < n; ++j) panel.column[j] = column(i + j);
    return panel;
  }

  void dot_products(int64_t first, int n, int64_t count, const Operands<T>& rows) const {
    for (int64_t i = first; i < first + n; ++i) {
      const T* next = i + 1 < vectors * gates ? rows_of(i + 1) : rows_of(first);
      dots<T>(rows_of(i), next, depth, outputs(i), depth, count, rows, column(i), V::lanes);
    }
  }

  const Plan& plan;
  const Packing packing;
  const T* const weight;
  const int gates;
  const int64_t hidden, depth, width;
  const int* const slots;
  const int64_t vectors;
  Buffer<Factor<T>> packed;
};

}  // namespace fastrnn::FASTRNN_TARGET
