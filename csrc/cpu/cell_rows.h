// What the loops of a user's cell forward and backward have in common: how the work is shared out, which rows and units
// are this thread's, and where rows and states lie.
//
// A row of gates is [gate][unit], each gate padded to whole cache lines, as sequence.h has it for built-in cells.
#pragma once
#include "../cells/cell_loop.h"
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
bool has_means(const CellLoop<T>& p) {
  return p.step.has_means() || p.gradient.has_means();
}

template <class T>
bool has_products(const CellLoop<T>& p) {
  return p.step.has_products() || p.gradient.has_products();
}

// Whether threads own rows of the batch: then no thread waits for another in a step, but each reads all of W_hh. Else
// they own hidden units, or, where the program has means over these, share units and rows in turns. The limits are
// make_plan()'s.
template <class T>
bool owns_rows(const CellLoop<T>& p) {
  const int64_t weights = (p.recurrent_gates + p.matrices) * p.hidden * p.hidden / p.heads;
  return p.times > 1 && p.batch >= 4 * p.threads && (has_means(p) || weights * int64_t(sizeof(T)) <= (1 << 20));
}

// As make_plan(): what a bit of a result may depend on is chosen by sizes alone, never by the number of threads.
template <class T>
Plan plan_cell(const CellLoop<T>& p, int64_t rows_per_chunk) {
  constexpr double pointwise = 10;  // what a gate's share of the program takes, in multiply-adds of a product
  const double rows = double(p.first[p.times - 1] + p.active[p.times - 1]), of_unit = 2.0 * p.hidden;
  const double recurrent = double(p.recurrent_gates + p.products) * p.hidden / p.heads;
  const double step = of_unit * p.batch * (recurrent + pointwise * p.gates);
  const double whole = of_unit * rows * (recurrent + double(p.input_gates) * p.input_size + pointwise * p.gates);
  Plan plan;
  plan.by_rows = owns_rows(p);
  plan.threads = int(smaller(p.threads, plan.by_rows ? p.batch / 4 : divide_up(p.hidden, int64_t(Vec<T>::lanes))));
  // With means there are two barriers a step, and the program runs between them on some of the rows. LayerNormLSTM, one
  // row, T200, two threads against one: H128 (1.5e5 a step) 0.83 ms instead of 0.67, H256 (5.7e5) 1.60 instead of 2.19.
  const bool meets = p.recurrent_gates || has_means(p) || has_products(p);
  if (whole < 3e5 || (!plan.by_rows && meets && step < (has_means(p) ? 3e5 : 4e4))) plan.threads = 1;
  if (plan.threads <= 1) plan.threads = 1, plan.by_rows = true;
  const auto ahead = [](Packing packing) { return packing == Packing::none ? packing : Packing::ahead; };
  plan.recurrent = ahead(choose_packing(p.times, p.batch, p.hidden));
  plan.input = ahead(choose_packing(1, p.times * p.batch, p.hidden));
  plan.backward = p.times == 1 ? Packing::at_use : Packing::ahead;  // see ColumnWeights
  plan.times_per_chunk = smaller(p.times, larger(1, rows_per_chunk / p.batch));
  plan.from_end = false;
  plan.tolerable_delay = larger(200 * ticks_per_microsecond, int64_t(whole / 32 / plan.threads / 2));
  return plan;
}

template <class T>
struct CellRows {
  using V = Vec<T>;
  const CellLoop<T>& p;
  const Plan plan;
  const int64_t hidden = p.hidden, width = padded<T>(hidden);  // of a gate
  const int64_t vectors = divide_up(hidden, int64_t(V::lanes));
  const int64_t chunk_rows = plan.times_per_chunk * p.batch;
  int places[most_gates];  // of the gates in a row, one after the other
  const bool uneven = plan.by_rows && plan.threads > 1 && p.active[p.times - 1] < p.batch;
  Buffer<int64_t> first_rows{uneven ? plan.threads + 1 : 0};  // see share_steps()

  CellRows(const CellLoop<T>& problem, int64_t rows_per_chunk) : p(problem), plan(plan_cell(problem, rows_per_chunk)) {
    for (int g = 0; g < most_gates; ++g) places[g] = g;
    if (uneven) share_steps(p.active, p.times, p.batch, plan.threads, first_rows);
  }

  // An odd number of cache lines: see gates_width of sequence.h.
  static int64_t odd_lines(int64_t numbers) { return numbers + (numbers / padded<T>(1) % 2 ? 0 : padded<T>(1)); }

  int64_t row(int64_t t, int64_t b) const { return p.first[t] + b; }
  int64_t place(Range times, int64_t t, int64_t b) const { return (t - times.begin) * p.batch + b; }  // in a chunk
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

  // This thread's part of the rows and of the vectors of units: one of them is everything. Until the next barrier.
  Range my_rows(const Team& team) const {
    if (uneven) return {first_rows[team.first], first_rows[team.last]};
    return plan.by_rows ? team.share(p.batch) : Range{0, p.batch};
  }
  Range my_vectors(const Team& team) const { return plan.by_rows ? Range{0, vectors} : team.share(vectors); }
  Range my_units(const Team& team) const {
    const Range mine = my_vectors(team);
    return {mine.begin * V::lanes, smaller(mine.end * V::lanes, hidden)};
  }
  // What of some rows this thread runs the program on: its units of each, or, with means, some of the rows as a whole,
  // with a barrier before and after.
  Range my_cells(const Team& team, Range rows) const {
    if (plan.by_rows || !has_means(p)) return rows;
    const Range share = team.share(rows.size());
    return {rows.begin + share.begin, rows.begin + share.end};
  }
  Range my_units_of_cells(const Team& team) const { return has_means(p) ? Range{0, hidden} : my_units(team); }
  void sync_means(Team& team) const {
    if (has_means(p)) sync_units(team);
  }
  Range active(Range rows, int64_t t) const { return {rows.begin, larger(rows.begin, smaller(rows.end, p.active[t]))}; }
  void sync_units(Team& team) const {
    if (!plan.by_rows) team.sync();
  }

  int64_t chunks() const { return divide_up(p.times, plan.times_per_chunk); }
  Range chunk(int64_t n, bool descending) const {
    if (descending) n = chunks() - 1 - n;
    return {n * plan.times_per_chunk, smaller((n + 1) * plan.times_per_chunk, p.times)};
  }

  static void copy(const T* from, T* to, Range units) {
    for (int64_t u = units.begin; u < units.end; u += V::lanes)
      V::load(from + u, int(units.end - u)).store(to + u, int(units.end - u));
  }
  static void add(const T* from, T* to, Range units) {
    for (int64_t u = units.begin; u < units.end; u += V::lanes) {
      const int n = int(units.end - u);
      (V::load(to + u, n) + V::load(from + u, n)).store(to + u, n);
    }
  }
  static void fill(T* to, T value, Range units) {
    for (int64_t u = units.begin; u < units.end; ++u) to[u] = value;
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
