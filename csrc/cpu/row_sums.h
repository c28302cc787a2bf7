// What the backward pass of users' cells sums over all rows, after the loop: gradients of weights, as products of the
// gates' gradients transposed with rows, and of biases and vectors. In one order, whatever the threads.
#pragma once
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class RowSums {
  using V = Vec<T>;
  static constexpr int64_t chunk = 256, left_width = 48, longest_chain = 64;  // as weight_gradients.h

 public:
  // `columns`: the most that a product has. `zeros`: as many.
  RowSums(const Plan& plan, int64_t columns, const T* zeros)
      : chunk_depth(factors_in<T>(chunk)), right_panels(chunk_depth * divide_up(columns, V::lanes) * V::lanes),
        left_blocks(plan.threads * chunk_depth * left_width), left_columns(plan.threads * left_width),
        results(plan.threads * left_width), zero_rows(left_width) {
    for (int64_t i = 0; i < left_width; ++i) zero_rows[i] = zeros;
  }

  // dw (units, columns) = leftᵀ · right over `count` rows; row i of the left side begins at left[i] + from.
  void product(Team& team, const T* const* left, int64_t from, int64_t units, const T* const* right, int64_t columns,
               int64_t count, T* dw) {
    const int64_t vectors = divide_up(columns, V::lanes);
    const int64_t chain = smaller(longest_chain, larger(4, count / 4));
    for (int64_t begin = 0; begin < count; begin += chunk) {
      const int64_t rows = smaller(chunk, count - begin), depth = factors_in<T>(rows);
      team.sync();  // all are done with what is in right_panels
      const Range packs = panels_to_pack(team, true, vectors, max_vectors);
      for (int64_t v = packs.begin; v < packs.end; v += max_vectors)
        pack_columns<T>([=](int64_t k) { return right[begin + k] + v * V::lanes; }, columns - v * V::lanes, rows,
                        right_panels + v * depth * V::lanes, smaller(max_vectors, vectors - v) * V::lanes);
      team.sync();
      const Range own = team.share(units);
      for (int64_t unit = own.begin; unit < own.end; unit += left_width)
        block(team, left + begin, from + unit, smaller(left_width, own.end - unit), rows, columns, chain, begin == 0,
              dw + unit * columns);
    }
  }

  // sums (units) = the sum over the rows, in blocks, to round less.
  void sum(Team& team, const T* const* left, int64_t from, int64_t units, int64_t count, T* sums) {
    const Range own = team.share(divide_up(units, V::lanes));
    for (int64_t u = own.begin * V::lanes; u < smaller(own.end * V::lanes, units); u += V::lanes) {
      const int n = int(smaller(V::lanes, units - u));
      V all{}, error{};
      for (int64_t top = 0; top < count; top += 16) {
        V part{};
        for (int64_t i = top; i < smaller(top + 16, count); ++i) part = part + V::load(left[i] + from + u, n);
        const V step = part - error, after = all + step;  // Kahan
        error = zero_if_nan((after - all) - step);
        all = after;
      }
      all.store(sums + u, n);
    }
  }

 private:
  void block(const Team& team, const T* const* left, int64_t from, int64_t height, int64_t rows, int64_t columns,
             int64_t chain, bool first, T* dw) {
    const int64_t vectors = divide_up(columns, V::lanes), depth = factors_in<T>(rows);
    Factor<T>* packed = left_blocks + team.rank * chunk_depth * left_width;
    const Factor<T>** a = left_columns + team.rank * left_width;
    T** result = results + team.rank * left_width;
    pack_columns<T>([=](int64_t k) { return left[k] + from; }, height, rows, packed, left_width);
    for (int64_t i = 0; i < height; ++i) a[i] = packed + i, result[i] = dw + i * columns;
    const T* const* init = result;
    if (first) init = zero_rows;
    for (int64_t v = 0; v < vectors; v += max_vectors) {
      const int n = int(smaller(max_vectors, vectors - v));
      fastrnn::FASTRNN_TARGET::product(
          column_panel<T>(right_panels + v * depth * V::lanes, n * V::lanes, columns, v, n), height, depth,
          Operands<T>{a, init, result, 0, left_width, chain});
    }
  }

  const int64_t chunk_depth;
  Buffer<Factor<T>> right_panels, left_blocks;
  Buffer<const Factor<T>*> left_columns;
  Buffer<T*> results;
  Buffer<const T*> zero_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
