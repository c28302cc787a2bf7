// The gradients of weights, biases and the cell's vectors. They need no order in time: a chunk of the backward pass
// adds to them at once, dW (+)= dgatesᵀ · x or dgatesᵀ · h_{t-1} over all its rows, each a large product.
#pragma once
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

// The rows of a chunk, over which the products sum.
template <class T>
struct ChunkRows {
  int64_t count;
  const T *dgates, *doutput;  // one row after the other; the latter of the projection
  const T *const *x, *const *h;
  const T* const* kept;  // what the last gate of a gated cell, or the projection, was multiplied by
};

template <class Cell, class T>
class WeightGradients {
  using V = Vec<T>;
  // The chains of additions. They are shorter where there are few rows: see docs/adr/0003.
  static constexpr int64_t longest_chain = 64;
  // Units whose gate gradients are packed at a time: whole vectors, few enough for the first-level cache.
  static constexpr int64_t left_width = 48;

 public:
  explicit WeightGradients(const Sequence<Cell, T>& sequence)
      : s(sequence), p(s.p), sums(groups() * s.gates_width), errors(groups() * s.gates_width), zero_rows(1, left_width),
        left_columns(s.plan.threads, left_width), result_rows(s.plan.threads, left_width),
        places(s.plan.threads, s.chunk_rows()), chunk_depth(factors_in<T>(s.chunk_rows())),
        right_panels(chunk_depth * larger(padded<T>(p.input_size), larger(s.width, s.output_width))),
        left_blocks(s.plan.threads * chunk_depth * left_width),
        head_width(padded<T>(larger(s.hidden, s.output) / p.heads)),
        head_panels(p.heads > 1 ? s.plan.threads * chunk_depth * head_width : 0) {
    zero_rows.fill(s.zeros);
    sums.clear(groups() * s.gates_width);
    errors.clear(groups() * s.gates_width);
  }

  // Hidden units are shared out.
  void add(Team& team, const ChunkRows<T>& rows, Range times, bool first) {
    const int64_t* place = places.of(team);
    for (int64_t v = 0; v < groups(); ++v) {
      const int64_t count = find_rows(places.of(team), times, v);
      auto gradient = [&](Product of, int64_t size) {
        if (!of.dw) return;
        of.dw += v * size;
        add_product(team, of, place, count, first);
      };
      const int64_t hidden = s.hidden, output = s.output, leading = s.gates_width, heads = p.heads;
      const int64_t of_hh = s.gated_weights + (Cell::gated ? hidden * hidden / heads : 0);
      gradient({rows.dgates, leading, hidden, Cell::input_gates, Cell::input_slots, rows.x, p.input_size, 1, p.dw_ih},
               Cell::input_gates * hidden * p.input_size);
      gradient({rows.dgates, leading, hidden, Cell::recurrent_gates, Cell::recurrent_slots, rows.h, output / heads,
                heads, p.dw_hh},
               of_hh);
      if constexpr (Cell::gated)
        gradient({rows.dgates, leading, hidden, 1, s.gated_slots, rows.kept, hidden / heads, heads,
                  p.dw_hh ? p.dw_hh + s.gated_weights : nullptr},
                 of_hh);
      if (p.w_hr)
        gradient({rows.doutput, s.output_width, output, 1, s.first_slot, rows.kept, hidden, 1, p.dw_hr},
                 output * hidden);
      if (p.db_ih || p.db_hh || wants_vectors())
        add_sums(team.share(s.vectors), rows.dgates, place, count, v * s.gates_width);
    }
  }

  void store_sums(Range units) {
    auto store = [&](T* db, int gates, int g, int slot) {
      for (int64_t v = 0; db && v < groups(); ++v)
        for (int64_t u = units.begin; u < units.end; ++u)
          db[(v * gates + g) * s.hidden + u] = sums[v * s.gates_width + slot * s.width + u];
    };
    constexpr int of_hh = Cell::recurrent_gates + Cell::gated;
    int of_biases = 0, of_vectors = Cell::slots;  // the first slots of each
    const int *input_slots = Cell::input_slots, *recurrent_slots = Cell::recurrent_slots;
    if constexpr (normalizes<Cell>) {
      input_slots = Cell::Plain::input_slots, recurrent_slots = Cell::Plain::recurrent_slots;
      of_biases = Cell::slots, of_vectors = Cell::slots + Cell::Plain::slots;
    }
    for (int g = 0; g < Cell::input_gates; ++g) store(p.db_ih, Cell::input_gates, g, of_biases + input_slots[g]);
    for (int g = 0; g < Cell::recurrent_gates; ++g) store(p.db_hh, of_hh, g, of_biases + recurrent_slots[g]);
    if constexpr (Cell::gated) store(p.db_hh, of_hh, Cell::recurrent_gates, s.gated_slots[0]);
    for (int k = 0; k < Cell::vectors; ++k)
      for (int i = 0; i < vector_size<Cell>(k); ++i) store(p.dvectors[k], vector_size<Cell>(k), i, of_vectors++);
  }

 private:
  int64_t groups() const { return larger(1, p.groups); }

  // The places in a chunk of the rows of group v, and how many there are.
  int64_t find_rows(int64_t* place, Range times, int64_t v) const {
    int64_t count = 0, begin = 0;
    for (int64_t t = times.begin; t < times.end; begin += p.active[t++])
      for (int64_t b = v; b < p.active[t]; b += p.groups ? p.groups : 1) place[count++] = begin + b;
    return count;
  }

  bool wants_vectors() const {
    for (int k = 0; k < Cell::vectors; ++k)
      if (p.dvectors[k]) return true;
    return false;
  }

  // dw (+)= leftᵀ · right over rows of a chunk. dw holds the gates' units × columns one after the other; units of a
  // head are multiplied by the columns of that head.
  struct Product {
    const T* left;
    int64_t leading, units;
    int gates;
    const int* slots;
    const T* const* right;
    int64_t columns, heads;  // columns of each head
    T* dw;
  };

  // The right side is packed once for all. Of several heads each thread packs what its own units are multiplied by.
  void add_product(Team& team, const Product& of, const int64_t* place, int64_t rows, bool first) {
    const Range own = team.share(of.units);
    if (!rows) {  // of this group, which may come later
      for (int64_t g = 0; first && g < of.gates; ++g)
        for (int64_t i = own.begin * of.columns; i < own.end * of.columns; ++i)
          of.dw[g * s.hidden * of.columns + i] = 0;
      return;
    }
    if (of.heads == 1) {
      team.sync();  // all are done with what is in right_panels
      pack_right(of, 0, panels_to_pack(team, true, column_vectors(of), max_vectors), place, rows, right_panels);
      team.sync();
      return add_units(team, of, team.share(of.units), place, rows, right_panels, first);
    }
    const int64_t of_head = of.units / of.heads;
    Factor<T>* const panels = head_panels + team.rank * chunk_depth * head_width;
    for (int64_t unit = own.begin; unit < own.end;) {
      const int64_t head = unit / of_head, end = smaller(own.end, (head + 1) * of_head);
      pack_right(of, head * of.columns, {0, column_vectors(of)}, place, rows, panels);
      add_units(team, of, {unit, end}, place, rows, panels, first);
      unit = end;
    }
  }

  static int64_t column_vectors(const Product& of) { return divide_up(of.columns, V::lanes); }
  static int panel_vectors(const Product& of, int64_t v) { return int(smaller(max_vectors, column_vectors(of) - v)); }

  // These vectors of the columns from `column` on.
  void pack_right(const Product& of, int64_t column, Range vectors, const int64_t* place, int64_t rows,
                  Factor<T>* panels) const {
    for (int64_t v = vectors.begin; v < vectors.end; v += max_vectors)
      pack_columns<T>([=, &of](int64_t k) { return of.right[place[k]] + column + v * V::lanes; },
                      of.columns - v * V::lanes, rows, panels + v * factors_in<T>(rows) * V::lanes,
                      panel_vectors(of, v) * V::lanes);
  }

  // By blocks of units, which are packed too.
  void add_units(Team& team, const Product& of, Range own, const int64_t* place, int64_t rows, const Factor<T>* panels,
                 bool first) {
    const int64_t depth = factors_in<T>(rows), columns = of.columns;
    Factor<T>* left_block = left_blocks + team.rank * chunk_depth * left_width;
    const Factor<T>** a = left_columns.of(team);
    T** result = result_rows.of(team);
    const int64_t chain = smaller(longest_chain, larger(p.batch, divide_up(p.before[p.times], 4)) / groups());
    for (int64_t i = 0; i < left_width; ++i) a[i] = left_block + i;
    for (int g = 0; g < of.gates; ++g)
      for (int64_t unit = own.begin; unit < own.end; unit += left_width) {
        int64_t height = smaller(left_width, own.end - unit);
        const T* from = of.left + of.slots[g] * s.width + unit;
        const int64_t leading = of.leading;
        pack_columns<T>([=](int64_t k) { return from + place[k] * leading; }, height, rows, left_block, left_width);
        for (int64_t i = 0; i < height; ++i) result[i] = of.dw + (g * s.hidden + unit + i) * columns;
        const T* const* init = result;
        if (first) init = zero_rows;
        for (int64_t v = 0; v < column_vectors(of); v += max_vectors) {
          int n = panel_vectors(of, v);
          product(column_panel<T>(panels + v * depth * V::lanes, n * V::lanes, columns, v, n), height, depth,
                  {a, init, result, 0, left_width, chain});
        }
      }
  }

  // In blocks, and with the rounding error of adding up the chunks carried along (Kahan): a bias or a vector of the
  // cell sums over every row there is.
  // `first`: where the group's sums begin.
  void add_sums(Range mine, const T* dgates, const int64_t* place, int64_t count, int64_t first) {
    constexpr int64_t block = 16;
    for (int k = 0; k < s.row_slots; ++k)
      for (int64_t u = k * s.width + mine.begin * V::lanes; u < k * s.width + mine.end * V::lanes; u += V::lanes) {
        V chunk{};
        for (int64_t top = 0; top < count; top += block) {
          V sum{};
          for (int64_t i = top; i < smaller(top + block, count); ++i)
            sum = sum + V::load(dgates + place[i] * s.gates_width + u);
          chunk = chunk + sum;
        }
        V before = V::load(sums + first + u), step = chunk - V::load(errors + first + u), after = before + step;
        after.store(sums + first + u);
        zero_if_nan((after - before) - step).store(errors + first + u);  // inf - inf: the sum is exact
      }
  }

  const Sequence<Cell, T>& s;
  const Problem<T>& p;
  Buffer<T> sums, errors;
  RowPointers<const T*> zero_rows;
  RowPointers<const Factor<T>*> left_columns;
  RowPointers<T*> result_rows;
  RowPointers<int64_t> places;
  const int64_t chunk_depth;  // in factors
  Buffer<Factor<T>> right_panels, left_blocks;
  const int64_t head_width;
  Buffer<Factor<T>> head_panels;  // of each thread: columns of the head at hand
};

}  // namespace fastrnn::FASTRNN_TARGET
