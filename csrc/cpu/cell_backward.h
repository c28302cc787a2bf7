// The time loop of users' cells backward, as backward.h has it for built-in cells: a step turns the gradients of the
// states after it into those of the gates, by the cell's gradient program, then into those of the states before it.
// What needs no order in time waits until a chunk of steps is done.
#pragma once
#include "cell_program.h"
#include "row_sums.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class CellBackward : CellRows<T> {
  using R = CellRows<T>;
  using R::p, R::plan, R::hidden, R::width, R::row;
  using V = Vec<T>;

 public:
  explicit CellBackward(const CellLoop<T>& problem)
      : R(problem, backward_rows_per_chunk), w_ih(plan, {p.d_x ? p.w_ih : nullptr, WeightFormat::same}, p.input_gates,
                                                  hidden, p.input_size, p.input_slots, width, true),
        w_hh(plan, {p.w_hh, WeightFormat::same}, p.recurrent_gates, hidden, hidden, R::places, width, false, p.heads),
        gradients(p.batch * p.states * width), d_slots(R::chunk_rows * slots_width),
        numbers(plan.threads * p.per_step * width), d_numbers(2 * p.batch * p.per_step * width),
        program(*this, p.gradient,
                [this](int m) {
                  const Weights<T> matrix{m < p.matrices ? p.matrix[m] : nullptr, WeightFormat::same};
                  return ColumnWeights<T>(plan, matrix, m < p.matrices, hidden, hidden, R::places, width, false,
                                          p.heads);
                }),
        zeros(larger(hidden, p.input_size)), zero_rows(1, R::chunk_rows), left_rows(plan.threads, R::chunk_rows),
        x_rows(plan.threads, R::chunk_rows), h_rows(plan.threads, R::chunk_rows),
        result_rows(plan.threads, R::chunk_rows), sums(plan, p.gates + p.vectors, hidden, width, R::chunk_rows,
                                                       larger(hidden, p.input_size), count_rows(), zeros, p.heads) {
    zeros.clear(larger(hidden, p.input_size));
    zero_rows.fill(zeros);
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

 private:
  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    program.pack(team);
    for (Range rows = this->my_rows(team); rows.begin < rows.end; ++rows.begin)
      for (int k = 0; k < p.states; ++k)
        if (p.d_last[k])
          R::copy(p.d_last[k] + rows.begin * hidden, gradient(k, rows.begin), this->my_units(team));
        else
          R::fill(gradient(k, rows.begin), 0, this->my_units(team));
    team.sync();  // each needs what the others have packed
    for (int64_t n = 0; n < this->chunks(); ++n) {
      const Range times = this->chunk(n, !p.reverse);
      for (int64_t i = 0; i < times.size(); ++i) step(team, times, p.reverse ? times.begin + i : times.end - 1 - i);
      team.sync();
      products_over_time(team, times, n == 0);
      team.sync();
    }
    for (Range rows = this->my_rows(team); rows.begin < rows.end; ++rows.begin)
      for (int k = 0; k < p.states; ++k)
        if (p.d_initial[k])
          R::copy(gradient(k, rows.begin), p.d_initial[k] + rows.begin * hidden, this->my_units(team));
    store_sums(team.share(R::vectors));
  }

  // Threads wait for each other after every chunk. So each has as many of its rows, whatever the lengths.
  Range rows_of_chunk(const Team& team, Range times) const {
    return plan.by_rows ? team.share(p.active[times.begin]) : Range{0, p.batch};
  }

  // Of state k after the step at hand, then before it.
  T* gradient(int k, int64_t b) const { return gradients + (b * p.states + k) * width; }
  // Of the gates and the vectors, in a row of a chunk, then what matrices' gradients need.
  T* slots_row(Range times, int64_t t, int64_t b) const { return d_slots + this->place(times, t, b) * slots_width; }
  // The gradient of number k per step, before it is summed over units. There is memory for two steps: one is summed
  // while the next is written.
  T* number_row(int k, int64_t t, int64_t b) const {
    return d_numbers + ((t % 2 * p.batch + b) * p.per_step + k) * width;
  }

  void step(Team& team, Range times, int64_t t) {
    const Range rows = this->active(rows_of_chunk(team, times), t);
    program.run(team, rows, reverses_sweep(t, rows.size()),
                [&](int64_t b, Range units, Range stages) { apply(team, times, t, b, units, stages); });
    if (p.recurrent_gates || p.per_step || has_means(p) || has_products(p)) this->sync_units(team);
    const T** left = left_rows.of(team);
    T** dh = result_rows.of(team);
    for (int64_t b = rows.begin; b < rows.end; ++b)
      left[b - rows.begin] = slots_row(times, t, b), dh[b - rows.begin] = gradient(0, b);
    if (p.recurrent_gates && rows.size() > 0)
      w_hh.times(team, this->my_vectors(team), rows.size(), reverses_sweep(t, rows.size()), {left, dh, dh});
    if (p.per_step) add_up_numbers(t, plan.by_rows ? rows : team.share(rows.size()));
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; this->begins_anew(t, b) && k < p.states; ++k) R::fill(gradient(k, b), 0, this->my_units(team));
    this->sync_means(team);
  }

  void apply(const Team& team, Range times, int64_t t, int64_t b, Range units, Range stages) {
    const T* in[most_places];
    T* out[most_places];
    int i = 0, o = 0;
    const int64_t at = row(t, b), first = units.begin;
    for (int k = 0; k < p.saves; ++k) in[i++] = p.saved + (at * p.saves + k) * hidden + first;
    if (p.reads_h) in[i++] = this->before(0, t, b) + first;
    if (p.reads_y) in[i++] = p.every[0] + at * hidden + first;
    for (int k = 0; k < p.stored_states; ++k) in[i++] = this->before(p.stored[k], t, b) + first;
    for (int k = 0; k < p.stored_states; ++k) in[i++] = p.every[p.stored[k]] + at * hidden + first;
    for (int k = 0; k < p.vectors; ++k) in[i++] = p.vector[k] + first;
    for (int k = 0; k < p.per_step; ++k) {
      T* to = numbers + (team.rank * p.per_step + k) * width;
      R::fill(to, p.numbers[k][at], {0, units.size()});
      in[i++] = to;
    }
    for (int k = 0; k < p.states; ++k) {
      if (p.d_every[k] && stages.begin == 0) R::add(p.d_every[k] + at * hidden, gradient(k, b), units);
      in[i++] = out[o++] = gradient(k, b) + first;
    }
    T* slots = slots_row(times, t, b);
    for (int s = 0; s < p.gates; ++s) out[o++] = slots + s * width + first;
    for (int s = p.gates; s < p.gates + p.vectors; ++s) out[o++] = slots + s * width + first;
    for (int k = 0; k < p.per_step; ++k) out[o++] = number_row(k, t, b) + first;
    for (int s = p.gates + p.vectors; s < all_slots; ++s) out[o++] = slots + s * width + first;
    program.on_row(team, b, units, stages, in, out);
  }

  // In one order, however units are shared out.
  void add_up_numbers(int64_t t, Range rows) {
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; k < p.per_step; ++k) {
        V lanes{};
        for (int64_t u = 0; u < hidden; u += V::lanes)
          lanes = lanes + V::load(number_row(k, t, b) + u, int(hidden - u));
        T sum = 0;
        for (int l = 0; l < V::lanes; ++l) sum += lanes.v[l];
        p.d_numbers[row(t, b) * p.per_step + k] = sum;
      }
  }

  // Rows of d_x, and hidden units of the weights, are shared out.
  void products_over_time(Team& team, Range times, bool first) {
    const T **left = left_rows.of(team), **x = x_rows.of(team), **h = h_rows.of(team);
    T** dx = result_rows.of(team);
    int64_t count = 0;
    for (int64_t t = times.begin; t < times.end; ++t)
      for (int64_t b = 0; b < p.active[t]; ++b, ++count) {
        left[count] = slots_row(times, t, b), x[count] = p.x + row(t, b) * p.input_size;
        h[count] = this->before(0, t, b), dx[count] = p.d_x ? p.d_x + row(t, b) * p.input_size : nullptr;
      }
    if (p.d_x) {
      const Range mine = team.share(count);
      w_ih.times(team, {0, divide_up(p.input_size, V::lanes)}, mine.size(), false,
                 {left + mine.begin, zero_rows, dx + mine.begin});
    }
    if (p.d_w_ih) sums.product(team, left, p.input_gates, p.input_slots, x, p.input_size, count, first, p.d_w_ih);
    if (p.d_w_hh)
      sums.product(team, left, p.recurrent_gates, R::places, h, hidden / p.heads, count, first, p.d_w_hh, p.heads);
    matrices_over_time(team, times, first);
    sums.add(team.share(R::vectors), left, count);
  }

  void matrices_over_time(Team& team, Range times, bool first) {
    const T **left = left_rows.of(team), **right = h_rows.of(team);  // whose rows of W_hh's gradient are packed
    for (int k = 0; k < p.products; ++k) {
      const auto& product = p.product[k];
      int64_t count = 0;
      for (int64_t t = times.begin; t < times.end; ++t)
        for (int64_t b = 0; b < p.active[t]; ++b) right[count++] = slots_row(times, t, b) + product.right * width;
      bool writes = first;  // as the first of its matrix
      for (int other = 0; other < k; ++other) writes = writes && p.product[other].matrix != product.matrix;
      if (T* const to = p.d_matrix[product.matrix])
        sums.product(team, left, 1, &product.left, right, hidden / p.heads, count, writes, to, p.heads);
    }
  }

  void store_sums(Range mine) const {
    for (int g = 0; p.d_b_ih && g < p.input_gates; ++g) sums.store(mine, p.input_slots[g], p.d_b_ih + g * hidden);
    for (int g = 0; p.d_b_hh && g < p.recurrent_gates; ++g) sums.store(mine, g, p.d_b_hh + g * hidden);
    for (int k = 0; k < p.vectors; ++k) sums.store(mine, p.gates + k, p.d_vector[k]);
  }

  int64_t count_rows() const {
    int64_t count = 0;
    for (int64_t t = 0; t < p.times; ++t) count += p.active[t];
    return count;
  }

  const int all_slots = p.gates + p.vectors + p.factors;
  const int64_t slots_width = R::odd_lines(all_slots * width);
  ColumnWeights<T> w_ih, w_hh;
  Buffer<T> gradients, d_slots, numbers, d_numbers;
  CellProgram<T, ColumnWeights<T>> program;
  Buffer<T> zeros;
  RowPointers<const T*> zero_rows, left_rows, x_rows, h_rows;
  RowPointers<T*> result_rows;
  RowSums<T> sums;
};

}  // namespace fastrnn::FASTRNN_TARGET
