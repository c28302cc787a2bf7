// What the time loops backward do with the gradients of states: dh and dc, a row for each batch row.
#pragma once
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
struct BackwardStates : Sequence<Cell, T> {
  using Sequence<Cell, T>::Sequence, Sequence<Cell, T>::p, Sequence<Cell, T>::zeros;
  using V = Vec<T>;

  void load_state(T* to, int64_t to_width, const T* from, int64_t size, Range rows, Range mine) {
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int64_t u = mine.begin * V::lanes; u < mine.end * V::lanes; u += V::lanes)
        V::load((from ? from + this->row(b) * size : zeros) + u, int(size - u)).store(to + b * to_width + u);
  }

  void store_state(const T* from, int64_t from_width, T* to, int64_t size, Range rows, Range mine) {
    for (int64_t b = rows.begin; to && b < rows.end; ++b)
      for (int64_t u = mine.begin * V::lanes; u < mine.end * V::lanes; u += V::lanes)
        V::load(from + b * from_width + u).store(to + this->row(b) * size + u, int(size - u));
  }

  // Row b of dh or dc goes to the learned initial state, if there is one, and no further.
  void leave(T* state, T* left, int64_t row_width, int64_t b, Range mine) {
    for (int64_t u = b * row_width + mine.begin * V::lanes; u < b * row_width + mine.end * V::lanes; u += V::lanes) {
      if (left) (V::load(left + u) + V::load(state + u)).store(left + u);
      V{}.store(state + u);
    }
  }

  // dL/dh_{t-1} of row b through the mask of recurrent dropout, from that of what W_hh read.
  void add_masked(const T* dread, T* dh, int64_t b, Range mine) const {
    const T* const mask = this->mask(b);
    for (int64_t u = mine.begin * V::lanes; u < mine.end * V::lanes; u += V::lanes)
      (V::load(dh + u) + V::load(mask + u, int(this->output - u)) * V::load(dread + u)).store(dh + u);
  }

  // h_{t-1} of row b as W_hh read it, at `to`. One thread fills it.
  const T* masked(const T* h, int64_t b, T* to, bool fill) const {
    const T* const mask = this->mask(b);
    for (int64_t u = 0; fill && u < this->output; u += V::lanes)
      (V::load(h + u, int(this->output - u)) * V::load(mask + u, int(this->output - u))).store(to + u);
    return to;
  }

  // The gradient of a learned initial state, of each group: what rows have left at resets, and of those that began with
  // it. In blocks, to round less.
  void sum_over_rows(Range mine, const T* left, bool began, const T* state, int64_t row_width, int64_t size, T* sums) {
    const int64_t groups = larger(1, p.groups), block = 16 * groups;
    for (int64_t v = 0; sums && v < groups; ++v)
      for (int64_t u = mine.begin * V::lanes; u < mine.end * V::lanes; u += V::lanes) {
        V sum{};
        for (int64_t first = v; first < p.batch; first += block) {
          V part{};
          for (int64_t b = first; b < smaller(first + block, p.batch); b += groups) {
            part = part + V::load(left + b * row_width + u);
            if (began) part = part + V::load(state + b * row_width + u);
          }
          sum = sum + part;
        }
        sum.store(sums + v * size + u, int(size - u));
      }
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
