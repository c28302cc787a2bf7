// The time loop of users' cells forward, as forward.h has it for built-in cells: gates by number at run time, the
// pointwise part by the interpreter. No state is copied: each step reads it where the step before has left it.
#pragma once
#include "cell_program.h"
#include "cell_weights.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class CellForward : CellRows<T> {
  using R = CellRows<T>;
  using R::p, R::plan, R::hidden, R::width, R::row;
  // As forward.h: the gates stay in the cache.
  static constexpr int64_t rows_per_chunk = 64, rows_together = 64;

 public:
  explicit CellForward(const CellLoop<T>& problem)
      : R(problem, rows_per_chunk),
        w_ih(plan, plan.input, p.w_ih, p.input_gates, hidden, p.input_size, p.input_slots, width),
        w_hh(plan, plan.recurrent, p.w_hh, p.recurrent_gates, hidden, hidden, R::places, width, p.heads),
        bias(gates_width), gates(R::chunk_rows * gates_width), carried(p.batch * p.states * width),
        numbers(plan.threads * p.per_step * width),
        program(*this, p.step,
                [this](int m) {
                  return CellWeights<T>(plan, plan.recurrent, p.matrix[m], m < p.matrices, hidden, hidden, R::places,
                                        width, p.heads);
                }),
        bias_rows(1, R::chunk_rows), left_rows(plan.threads, R::chunk_rows), gate_rows(plan.threads, R::chunk_rows),
        states(plan.threads, p.batch * p.states + cache_line / int64_t(sizeof(T*))) {
    bias.clear(gates_width);
    bias_rows.fill(bias);
    for (int g = 0; p.b_ih && g < p.input_gates; ++g)
      R::copy(p.b_ih + g * hidden, bias + p.input_slots[g] * width, {0, hidden});
    for (int g = 0; p.b_hh && g < p.recurrent_gates; ++g) R::add(p.b_hh + g * hidden, bias + g * width, {0, hidden});
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

 private:
  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    program.pack(team);
    if (plan.by_rows) team.sync();  // each needs what the others have packed
    const Range rows = this->my_rows(team);
    // Rows are independent: a thread that owns rows takes some through all times before the next.
    const int64_t groups = plan.by_rows ? divide_up(rows.size(), rows_together) : 1;
    for (int64_t g = 0; g < groups; ++g)
      run(team, {rows.begin + rows.size() * g / groups, rows.begin + rows.size() * (g + 1) / groups});
    if (plan.by_rows || !p.recurrent_gates) team.sync();  // see Forward::run
  }

  void run(Team& team, Range rows) {
    const T** now = states.of(team);
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; k < p.states; ++k) now[b * p.states + k] = this->initial(k, b);
    for (int64_t n = 0; n < this->chunks(); ++n) {
      const Range times = this->chunk(n, p.reverse);
      multiply_input(team, times, rows);
      for (int64_t i = 0; i < times.size(); ++i) {
        step(team, times, p.reverse ? times.end - 1 - i : times.begin + i, rows);
        if (p.recurrent_gates || has_means(p) || has_products(p)) this->sync_units(team);
      }
    }
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; k < p.states; ++k) R::copy(now[b * p.states + k], p.last[k] + b * hidden, this->my_units(team));
  }

  // A thread may be chunks ahead of one with other rows.
  T* gates_row(Range times, int64_t t, int64_t b) const { return gates + this->place(times, t, b) * gates_width; }

  // gates = bias + x · W_ihᵀ, for every row of the chunk.
  void multiply_input(Team& team, Range times, Range mine) {
    const T** x = left_rows.of(team);
    T** to = gate_rows.of(team);
    int64_t count = 0;
    for (int64_t t = times.begin; t < times.end; ++t) {
      const Range rows = this->active(mine, t);
      for (int64_t b = rows.begin; b < rows.end; ++b, ++count)
        x[count] = p.x + row(t, b) * p.input_size, to[count] = gates_row(times, t, b);
    }
    w_ih.times(team, this->my_vectors(team), count, false, {x, bias_rows, to});
    const Range units = this->my_units(team);
    for (int g = 0; g < p.recurrent_gates; ++g)
      for (int64_t i = 0; !is_of_input(g) && i < count; ++i) R::copy(bias + g * width, to[i] + g * width, units);
  }

  bool is_of_input(int gate) const {
    for (int g = 0; g < p.input_gates; ++g)
      if (p.input_slots[g] == gate) return true;
    return false;
  }

  // gates += h · W_hhᵀ, then the cell.
  void step(Team& team, Range times, int64_t t, Range mine) {
    const Range rows = this->active(mine, t);
    const T **h = left_rows.of(team), **now = states.of(team);
    T** to = gate_rows.of(team);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      for (int k = 0; this->begins_anew(t, b) && k < p.states; ++k) now[b * p.states + k] = p.begin[k];
      h[b - rows.begin] = now[b * p.states], to[b - rows.begin] = gates_row(times, t, b);
    }
    if (p.recurrent_gates)
      w_hh.times(team, this->my_vectors(team), rows.size(), reverses_sweep(t, rows.size()), {h, to, to});
    this->sync_means(team);
    program.run(team, rows, reverses_sweep(t, rows.size()), [&](int64_t b, Range units, Range stages) {
      apply(team, t, b, gates_row(times, t, b), now + b * p.states, units, stages);
    });
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; k < p.states; ++k) now[b * p.states + k] = after(k, t, b);
  }

  // Where state k is after the step at t.
  T* after(int k, int64_t t, int64_t b) const {
    return p.every[k] ? p.every[k] + row(t, b) * hidden : carried + (b * p.states + k) * width;
  }

  // `now`: where the states of the row lie before the step.
  void apply(const Team& team, int64_t t, int64_t b, const T* gates, const T* const* now, Range units, Range stages) {
    const T* in[most_places];
    T* out[most_places];
    int i = 0, o = 0;
    const int64_t first = units.begin;
    for (int g = 0; g < p.gates; ++g) in[i++] = gates + g * width + first;
    for (int k = 0; k < p.states; ++k) in[i++] = now[k] + first;
    for (int k = 0; k < p.vectors; ++k) in[i++] = p.vector[k] + first;
    for (int k = 0; k < p.per_step; ++k) {
      T* to = numbers + (team.rank * p.per_step + k) * width;
      R::fill(to, p.numbers[k][row(t, b)], {0, units.size()});
      in[i++] = to;
    }
    for (int k = 0; k < p.states; ++k) out[o++] = after(k, t, b) + first;
    for (int k = 0; p.saved && k < p.saves; ++k) out[o++] = p.saved + (row(t, b) * p.saves + k) * hidden + first;
    program.on_row(team, b, units, stages, in, out);
  }

  const int64_t gates_width = R::odd_lines(p.gates * width);
  CellWeights<T> w_ih, w_hh;
  Buffer<T> bias, gates, carried, numbers;
  CellProgram<T, CellWeights<T>> program;
  RowPointers<const T*> bias_rows, left_rows;
  RowPointers<T*> gate_rows;
  RowPointers<const T*> states;  // where those of each row lie now, those of a thread a cache line from others'
};

}  // namespace fastrnn::FASTRNN_TARGET
