// The time loop of users' cells, forward and backward: W_hh · h by the register tiles of matmul.h, gates by number at
// run time, the pointwise part by the interpreter. A thread owns rows of the batch and waits for no other.
#pragma once
#include "../cells/cell_loop.h"
#include "interpreter.h"
#include "row_sums.h"

namespace fastrnn::FASTRNN_TARGET {

constexpr int first_place[] = {0};

template <class T>
struct CellLoopPlan : Plan {
  explicit CellLoopPlan(const CellLoop<T>& p) {
    const double work = 2.0 * (p.first[p.times - 1] + p.active[p.times - 1]) * p.hidden *
                        (double(p.recurrent_gates) * p.hidden + p.input_gates * p.input_size + 10 * p.gates);
    threads = int(larger(1, smaller(p.threads, p.batch / 4)));
    if (work < 3e5) threads = 1;
    by_rows = true;
    recurrent = ahead(choose_packing(p.times, p.batch, p.recurrent_gates * p.hidden));
    input = ahead(choose_packing(1, p.times * p.batch, p.input_gates * p.hidden));
    backward = Packing::ahead;
    times_per_chunk = smaller(p.times, larger(1, 64 / p.batch));  // as forward.h: the gates stay in the cache
    from_end = false;
    tolerable_delay = larger(200 * ticks_per_microsecond, int64_t(work / 32 / threads / 2));
  }

  static Packing ahead(Packing packing) { return packing == Packing::at_use ? Packing::ahead : packing; }
};

// What both loops ask of a row.
template <class T>
struct CellRows {
  using V = Vec<T>;
  const CellLoop<T>& p;
  const int64_t hidden = p.hidden, gates_width = p.gates * p.hidden;

  int64_t row(int64_t t, int64_t b) const { return p.first[t] + b; }
  int64_t previous(int64_t t) const { return p.reverse ? t + 1 : t - 1; }
  bool has_previous(int64_t t, int64_t b) const {
    const int64_t before = previous(t);
    return before >= 0 && before < p.times && b < p.active[before];
  }
  bool begins_anew(int64_t t, int64_t b) const {
    if (!p.resets) return false;
    if (!p.reverse) return p.resets[row(t, b)];
    return t + 1 < p.times && b < p.active[t + 1] && p.resets[row(t + 1, b)];
  }
  // State k before the step at t, where states after every step are kept.
  const T* before(int k, int64_t t, int64_t b) const {
    if (begins_anew(t, b)) return p.begin[k];
    if (has_previous(t, b)) return p.every[k] + row(previous(t), b) * hidden;
    return initial(k, b);
  }
  const T* initial(int k, int64_t b) const { return p.initial[k] ? p.initial[k] + b * hidden : p.begin[k]; }

  void copy(const T* from, T* to) const {
    for (int64_t u = 0; u < hidden; u += V::lanes) V::load(from + u, int(hidden - u)).store(to + u, int(hidden - u));
  }
  void add(const T* from, T* to) const {
    for (int64_t u = 0; u < hidden; u += V::lanes) {
      const int n = int(hidden - u);
      (V::load(to + u, n) + V::load(from + u, n)).store(to + u, n);
    }
  }
  void fill(T* to, T value) const {
    for (int64_t u = 0; u < hidden; ++u) to[u] = value;
  }
  Range my_rows(const Team& team) const { return team.share(p.batch); }
  Range active(Range rows, int64_t t) const { return {rows.begin, smaller(rows.end, p.active[t])}; }
};

template <class T>
class CellForward : CellRows<T> {
  using R = CellRows<T>;
  using R::p, R::hidden, R::gates_width, R::row;

 public:
  explicit CellForward(const CellLoop<T>& problem)
      : R{problem}, plan(problem),
        w_ih(plan, plan.input, {p.w_ih, WeightFormat::same}, inputs_width, p.input_size, first_place, 0),
        w_hh(plan, plan.recurrent, {p.w_hh, WeightFormat::same}, p.recurrent_gates * hidden, hidden, first_place, 0),
        bias(inputs_width), inputs(plan.times_per_chunk * p.batch * inputs_width), gates(p.batch * gates_width),
        states(p.batch * p.states * hidden), numbers(plan.threads * p.per_step * hidden),
        scratch(plan.threads * p.step.scratch(hidden)), x_rows(plan.times_per_chunk * p.batch),
        bias_rows(plan.times_per_chunk * p.batch), h_rows(p.batch), input_rows(plan.times_per_chunk * p.batch),
        gate_rows(p.batch) {
    for (int64_t i = 0; i < inputs_width; ++i) bias[i] = p.b_ih ? p.b_ih[i] : T(0);
    for (int64_t i = 0; i < plan.times_per_chunk * p.batch; ++i) bias_rows[i] = bias;
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

 private:
  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    team.sync();  // each needs what the others have packed
    const Range mine = this->my_rows(team);
    for (int k = 0; k < p.states; ++k)
      for (int64_t b = mine.begin; b < mine.end; ++b) this->copy(this->initial(k, b), state(k, b));
    const int64_t chunks = divide_up(p.times, plan.times_per_chunk);
    for (int64_t n = 0; n < chunks; ++n) {
      const int64_t begin = (p.reverse ? chunks - 1 - n : n) * plan.times_per_chunk;
      const Range times{begin, smaller(begin + plan.times_per_chunk, p.times)};
      multiply_input(team, times, mine);
      for (int64_t i = 0; i < times.size(); ++i)
        step(team, times, p.reverse ? times.end - 1 - i : times.begin + i, mine);
    }
    for (int k = 0; k < p.states; ++k)
      for (int64_t b = mine.begin; b < mine.end; ++b) this->copy(state(k, b), p.last[k] + b * hidden);
  }

  // The states of row b as they are now.
  T* state(int k, int64_t b) const { return states + (b * p.states + k) * hidden; }

  // A row of W_ih x + b_ih in the chunk: a thread's rows lie one after the other, whatever the lengths of others.
  T* input_of(Range times, int64_t t, int64_t b) const {
    return inputs + ((t - times.begin) * p.batch + b) * inputs_width;
  }

  void multiply_input(Team& team, Range times, Range mine) {
    const int64_t first = mine.begin * plan.times_per_chunk;
    int64_t count = 0;
    for (int64_t t = times.begin; t < times.end; ++t) {
      const Range rows = this->active(mine, t);
      for (int64_t b = rows.begin; b < rows.end; ++b, ++count)
        x_rows[first + count] = p.x + row(t, b) * p.input_size, input_rows[first + count] = input_of(times, t, b);
    }
    if (count > 0)
      w_ih.times(team, {0, divide_up(inputs_width, Vec<T>::lanes)}, count, true, false,
                 {x_rows + first, bias_rows, input_rows + first}, [](Range) {});
  }

  void step(Team& team, Range times, int64_t t, Range mine) {
    const Range rows = this->active(mine, t);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      T* to = gates + b * gates_width;
      for (int g = 0; g < p.recurrent_gates; ++g)
        if (p.b_hh)
          this->copy(p.b_hh + g * hidden, to + g * hidden);
        else
          this->fill(to + g * hidden, 0);
      for (int g = 0; g < p.input_gates; ++g) {
        const T* from = input_of(times, t, b) + g * hidden;
        if (p.b_hh && p.input_slots[g] < p.recurrent_gates)
          this->add(from, to + p.input_slots[g] * hidden);
        else
          this->copy(from, to + p.input_slots[g] * hidden);
      }
      if (this->begins_anew(t, b))
        for (int k = 0; k < p.states; ++k) this->copy(p.begin[k], state(k, b));
      h_rows[b] = state(0, b), gate_rows[b] = to;
    }
    if (p.recurrent_gates && rows.size() > 0)
      w_hh.times(team, {0, divide_up(p.recurrent_gates * hidden, Vec<T>::lanes)}, rows.size(), true, false,
                 {h_rows + rows.begin, gate_rows + rows.begin, gate_rows + rows.begin}, [](Range) {});
    for (int64_t b = rows.begin; b < rows.end; ++b) apply(team, t, b);
  }

  void apply(const Team& team, int64_t t, int64_t b) {
    const T* in[most_places];
    T* out[most_places];
    int i = 0, o = 0;
    for (int g = 0; g < p.gates; ++g) in[i++] = gates + b * gates_width + g * hidden;
    for (int k = 0; k < p.states; ++k) in[i++] = state(k, b);
    for (int k = 0; k < p.vectors; ++k) in[i++] = p.vector[k];
    for (int k = 0; k < p.per_step; ++k) {
      T* to = numbers + (team.rank * p.per_step + k) * hidden;
      this->fill(to, p.numbers[k][row(t, b)]);
      in[i++] = to;
    }
    for (int k = 0; k < p.states; ++k) out[o++] = state(k, b);
    for (int k = 0; p.saved && k < p.saves; ++k) out[o++] = p.saved + (row(t, b) * p.saves + k) * hidden;
    run_program<T>(p.step, in, out, hidden, scratch + team.rank * p.step.scratch(hidden));
    for (int k = 0; k < p.states; ++k)
      if (p.every[k]) this->copy(state(k, b), p.every[k] + row(t, b) * hidden);
  }

  CellLoopPlan<T> plan;
  const int64_t inputs_width = p.input_gates * hidden;
  GateWeights<T, 1> w_ih, w_hh;
  Buffer<T> bias, inputs, gates, states, numbers, scratch;
  Buffer<const T*> x_rows, bias_rows, h_rows;
  Buffer<T*> input_rows, gate_rows;
};

template <class T>
class CellBackward : CellRows<T> {
  using R = CellRows<T>;
  using R::p, R::hidden, R::gates_width, R::row;
  using V = Vec<T>;

 public:
  explicit CellBackward(const CellLoop<T>& problem)
      : R{problem}, plan(problem), w_ih(plan, {p.d_x ? p.w_ih : nullptr, WeightFormat::same}, p.input_gates, hidden,
                                        p.input_size, p.input_slots, hidden),
        w_hh(plan, {p.w_hh, WeightFormat::same}, 1, p.recurrent_gates * hidden, hidden, first_place, 0),
        gradients(p.batch * p.states * hidden), numbers(2 * plan.threads * p.per_step * hidden),
        scratch(plan.threads * p.gradient.scratch(hidden)), zeros(larger(hidden, p.input_size)),
        gate_rows(p.batch), h_rows(p.batch), all_gates(rows), all_x(rows), all_h(rows), all_vectors(rows),
        zero_rows(rows), d_x_rows(rows), sums(plan, larger(hidden, p.input_size), zeros) {
    zeros.clear(larger(hidden, p.input_size));
    int64_t i = 0;
    for (int64_t t = 0; t < p.times; ++t)
      for (int64_t b = 0; b < p.active[t]; ++b, ++i) {
        const int64_t at = row(t, b);
        all_gates[i] = p.d_gates + at * gates_width, all_x[i] = p.x + at * p.input_size;
        all_h[i] = this->before(0, t, b), all_vectors[i] = p.d_vectors + at * p.vectors * hidden;
        zero_rows[i] = zeros, d_x_rows[i] = p.d_x ? p.d_x + at * p.input_size : nullptr;
      }
  }

  void run() {
    parallel(plan.threads, [this](Team& team) { run(team); }, plan.tolerable_delay);
  }

 private:
  T* gradient(int k, int64_t b) const { return gradients + (b * p.states + k) * hidden; }

  void run(Team& team) {
    w_ih.pack(team);
    w_hh.pack(team);
    team.sync();
    const Range mine = this->my_rows(team);
    for (int k = 0; k < p.states; ++k)
      for (int64_t b = mine.begin; b < mine.end; ++b)
        if (p.d_last[k])
          this->copy(p.d_last[k] + b * hidden, gradient(k, b));
        else
          this->fill(gradient(k, b), 0);
    for (int64_t i = 0; i < p.times; ++i) step(team, p.reverse ? i : p.times - 1 - i, mine);
    for (int k = 0; k < p.states; ++k)
      for (int64_t b = mine.begin; p.d_initial[k] && b < mine.end; ++b)
        this->copy(gradient(k, b), p.d_initial[k] + b * hidden);
    team.sync();
    over_rows(team);
  }

  // What needs no order in time.
  void over_rows(Team& team) {
    const Range mine = team.share(rows);
    if (p.d_x && mine.size() > 0)
      w_ih.times(team, {0, divide_up(p.input_size, V::lanes)}, mine.size(), false,
                 {all_gates + mine.begin, zero_rows + mine.begin, d_x_rows + mine.begin});
    for (int g = 0; g < p.input_gates; ++g) {
      const int64_t from = p.input_slots[g] * hidden;
      if (p.d_w_ih)
        sums.product(team, all_gates, from, hidden, all_x, p.input_size, rows, p.d_w_ih + g * hidden * p.input_size);
      if (p.d_b_ih) sums.sum(team, all_gates, from, hidden, rows, p.d_b_ih + g * hidden);
    }
    const int64_t recurrent = p.recurrent_gates * hidden;
    if (p.d_w_hh) sums.product(team, all_gates, 0, recurrent, all_h, hidden, rows, p.d_w_hh);
    if (p.d_b_hh) sums.sum(team, all_gates, 0, recurrent, rows, p.d_b_hh);
    for (int k = 0; k < p.vectors; ++k)
      if (p.d_vector[k]) sums.sum(team, all_vectors, k * hidden, hidden, rows, p.d_vector[k]);
  }

  void step(Team& team, int64_t t, Range mine) {
    const Range rows = this->active(mine, t);
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      apply(team, t, b);
      gate_rows[b] = p.d_gates + row(t, b) * gates_width, h_rows[b] = gradient(0, b);
    }
    if (p.recurrent_gates && rows.size() > 0)
      w_hh.times(team, {0, divide_up(hidden, V::lanes)}, rows.size(), false,
                 {gate_rows + rows.begin, h_rows + rows.begin, h_rows + rows.begin});
    for (int64_t b = rows.begin; b < rows.end; ++b)
      for (int k = 0; this->begins_anew(t, b) && k < p.states; ++k) this->fill(gradient(k, b), 0);
  }

  void apply(const Team& team, int64_t t, int64_t b) {
    const T* in[most_places];
    T* out[most_places];
    int i = 0, o = 0;
    const int64_t at = row(t, b);
    const T* h = this->before(0, t, b);
    for (int k = 0; k < p.saves; ++k) in[i++] = p.saved + (at * p.saves + k) * hidden;
    if (p.reads_h) in[i++] = h;
    if (p.reads_y) in[i++] = p.every[0] + at * hidden;
    for (int k = 0; k < p.stored_states; ++k) in[i++] = this->before(p.stored[k], t, b);
    for (int k = 0; k < p.stored_states; ++k) in[i++] = p.every[p.stored[k]] + at * hidden;
    for (int k = 0; k < p.vectors; ++k) in[i++] = p.vector[k];
    T* mine = numbers + 2 * team.rank * p.per_step * hidden;
    for (int k = 0; k < p.per_step; ++k) {
      this->fill(mine + k * hidden, p.numbers[k][at]);
      in[i++] = mine + k * hidden;
    }
    for (int k = 0; k < p.states; ++k) {
      if (p.d_every[k]) this->add(p.d_every[k] + at * hidden, gradient(k, b));
      in[i++] = out[o++] = gradient(k, b);
    }
    for (int g = 0; g < p.gates; ++g) out[o++] = p.d_gates + at * gates_width + g * hidden;
    for (int k = 0; k < p.vectors; ++k) out[o++] = p.d_vectors + (at * p.vectors + k) * hidden;
    for (int k = 0; k < p.per_step; ++k) out[o++] = mine + (p.per_step + k) * hidden;
    run_program<T>(p.gradient, in, out, hidden, scratch + team.rank * p.gradient.scratch(hidden));
    for (int k = 0; k < p.per_step; ++k) p.d_numbers[at * p.per_step + k] = sum(mine + (p.per_step + k) * hidden);
  }

  int64_t count_rows() const {
    int64_t count = 0;
    for (int64_t t = 0; t < p.times; ++t) count += p.active[t];
    return count;
  }

  T sum(const T* row) const {
    V lanes{};
    for (int64_t u = 0; u < hidden; u += V::lanes) lanes = lanes + V::load(row + u, int(hidden - u));
    T all = 0;
    for (int l = 0; l < V::lanes; ++l) all += lanes.v[l];
    return all;
  }

  CellLoopPlan<T> plan;
  const int64_t rows = count_rows();
  ColumnWeights<T> w_ih, w_hh;
  Buffer<T> gradients, numbers, scratch, zeros;
  Buffer<const T*> gate_rows;
  Buffer<T*> h_rows;
  Buffer<const T*> all_gates, all_x, all_h, all_vectors, zero_rows;
  Buffer<T*> d_x_rows;
  RowSums<T> sums;
};

}  // namespace fastrnn::FASTRNN_TARGET
