// What the backward pass of users' cells sums over rows, chunk by chunk: gradients of weights, as products of the
// gates' gradients transposed with rows, and of biases and vectors. As weight_gradients.h, for gates by number at run
// time.
#pragma once
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class RowSums {
  using V = Vec<T>;
  static constexpr int64_t left_width = 48, longest_chain = 64;  // as weight_gradients.h

 public:
  // Rows on the left are of slots of `hidden` numbers, `width` apart. `chunk`: the most rows of a chunk, `columns`: the
  // most that the rows of a product have; `zeros`: as many. `rows`: of all chunks. `heads`: the most of a product.
  RowSums(const Plan& plan, int slots, int64_t hidden, int64_t width, int64_t chunk, int64_t columns, int64_t rows,
          const T* zeros, int64_t heads = 1)
      : slots(slots), hidden(hidden), width(width), chain(smaller(longest_chain, larger(4, rows / 4))),
        chunk_depth(factors_in<T>(chunk)), right_panels(chunk_depth * padded<T>(columns)),
        left_blocks(plan.threads * chunk_depth * left_width), head_width(padded<T>(hidden / heads)),
        head_panels(heads > 1 ? plan.threads * chunk_depth * head_width : 0), sums(slots * width),
        errors(slots * width), zero_rows(1, left_width), left_columns(plan.threads, left_width),
        results(plan.threads, left_width) {
    zero_rows.fill(zeros);
    sums.clear(slots * width);
    errors.clear(slots * width);
  }

  // dw (+)= leftᵀ · right over the rows of a chunk, for some of the slots. dw holds their units × columns one after the
  // other; units are shared out. `first`: nothing is in dw yet. Of several heads units are multiplied by the `columns`
  // of their own, which each thread packs for itself.
  void product(Team& team, const T* const* left, int gates, const int* of, const T* const* right, int64_t columns,
               int64_t rows, bool first, T* dw, int64_t heads = 1) {
    if (!rows && first)
      for (Range own = team.share(gates * hidden * columns); own.begin < own.end; ++own.begin) dw[own.begin] = 0;
    if (!rows) return;
    const int64_t vectors = divide_up(columns, V::lanes);
    const auto multiply = [&](Range units, const Factor<T>* panels) {
      for (int g = 0; g < gates; ++g)
        for (int64_t unit = units.begin; unit < units.end; unit += left_width)
          block(team, left, of[g] * width + unit, smaller(left_width, units.end - unit), panels, rows, columns, first,
                dw + (g * hidden + unit) * columns);
    };
    if (heads == 1) {
      team.sync();  // all are done with what is in right_panels
      pack(panels_to_pack(team, true, vectors, max_vectors), right, 0, columns, rows, right_panels);
      team.sync();
      return multiply(team.share(hidden), right_panels);
    }
    Factor<T>* const panels = head_panels + team.rank * chunk_depth * head_width;
    const int64_t of_head = hidden / heads;
    const Range own = team.share(hidden);
    for (int64_t unit = own.begin; unit < own.end;) {
      const int64_t head = unit / of_head, end = smaller(own.end, (head + 1) * of_head);
      pack({0, vectors}, right, head * columns, columns, rows, panels);
      multiply({unit, end}, panels);
      unit = end;
    }
  }

  // Adds the rows of a chunk to the sums of all slots, of these vectors of units. In blocks, and with the rounding
  // error carried along (Kahan).
  void add(Range mine, const T* const* left, int64_t rows) {
    for (int k = 0; k < slots; ++k)
      for (int64_t u = mine.begin * V::lanes; u < smaller(mine.end * V::lanes, hidden); u += V::lanes) {
        const int64_t at = k * width + u;
        const int n = int(hidden - u);
        V sum = V::load(sums + at), error = V::load(errors + at);
        for (int64_t top = 0; top < rows; top += 16) {
          V part{};
          for (int64_t i = top; i < smaller(top + 16, rows); ++i) part = part + V::load(left[i] + at, n);
          const V step = part - error, after = sum + step;
          error = zero_if_nan((after - sum) - step);  // inf - inf: the sum is exact
          sum = after;
        }
        sum.store(sums + at);
        error.store(errors + at);
      }
  }

  // The sums of a slot, of these vectors of units.
  void store(Range mine, int slot, T* to) const {
    for (int64_t u = mine.begin * V::lanes; to && u < smaller(mine.end * V::lanes, hidden); ++u)
      to[u] = sums[slot * width + u];
  }

 private:
  // These vectors of the columns from `column` on.
  void pack(Range vectors, const T* const* right, int64_t column, int64_t columns, int64_t rows,
            Factor<T>* panels) const {
    sweep(vectors, max_vectors, false, [=](int64_t v, int n) {
      pack_columns<T>([=](int64_t k) { return right[k] + column + v * V::lanes; }, columns - v * V::lanes, rows,
                      panels + v * factors_in<T>(rows) * V::lanes, n * V::lanes);
    });
  }

  void block(const Team& team, const T* const* left, int64_t from, int64_t height, const Factor<T>* panels,
             int64_t rows, int64_t columns, bool first, T* dw) {
    const int64_t vectors = divide_up(columns, V::lanes), depth = factors_in<T>(rows);
    Factor<T>* packed = left_blocks + team.rank * chunk_depth * left_width;
    const Factor<T>** a = left_columns.of(team);
    T** result = results.of(team);
    pack_columns<T>([=](int64_t k) { return left[k] + from; }, height, rows, packed, left_width);
    for (int64_t i = 0; i < height; ++i) a[i] = packed + i, result[i] = dw + i * columns;
    const T* const* init = result;
    if (first) init = zero_rows;
    sweep({0, vectors}, max_vectors, false, [&](int64_t v, int n) {
      fastrnn::FASTRNN_TARGET::product(column_panel<T>(panels + v * depth * V::lanes, n * V::lanes, columns, v, n),
                                       height, depth, Operands<T>{a, init, result, 0, left_width, chain});
    });
  }

  const int slots;
  const int64_t hidden, width, chain, chunk_depth;  // the last in factors
  Buffer<Factor<T>> right_panels, left_blocks;
  const int64_t head_width;
  Buffer<Factor<T>> head_panels;  // of each thread: columns of the head at hand
  Buffer<T> sums, errors;
  RowPointers<const T*> zero_rows;
  RowPointers<const Factor<T>*> left_columns;
  RowPointers<T*> results;
};

}  // namespace fastrnn::FASTRNN_TARGET
