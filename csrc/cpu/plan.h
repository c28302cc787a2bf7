// How a sequence is shared out: the cost model. Nothing decided here may change a result by a bit when only the number
// of threads differs, so whether weights are packed and `times_per_chunk` depend on sizes alone.
#pragma once
#include "../sequence/packed.h"
#include "factors.h"

namespace fastrnn::FASTRNN_TARGET {

// Weights are read where they lie, or repacked for the tiles: all of them before the first step, or, where each is
// needed only once, a panel at a time.
enum class Packing { none, ahead, at_use };

struct Plan {
  int threads;
  bool by_rows;  // threads own batch rows and never wait for each other in a step; else hidden units
  Packing input, recurrent, backward;  // of W_ih and of the other weights forward; of all weights backward
  int64_t times_per_chunk;             // steps whose input product is done in one go
  bool from_end;                       // the only step goes through the weights from their end
  int64_t tolerable_delay;  // ticks that threads may wait for one that does not run, before the team is dissolved
};

// Of a chunk of the backward pass: the depth of the weight gradients' products. With 64 the backward pass of LSTM T128
// B32 H512 is 8 % slower.
constexpr int64_t backward_rows_per_chunk = 256;

// With a sum for each group, a chunk has 128 rows of each: every chunk writes the sums once, groups times the weights'
// memory.
template <class T>
int64_t backward_rows(const Problem<T>& p) {
  return larger(backward_rows_per_chunk, 128 * p.groups);
}

// Steps of a segment of recompute.h: whole chunks of the backward pass.
inline int64_t steps_per_checkpoint(int64_t batch) {
  int64_t chunk = larger(1, backward_rows_per_chunk / batch);
  return divide_up(least_steps_per_checkpoint, chunk) * chunk;
}

// Of weights that multiply `rows` rows, `times` times. In units of what a row takes at the machine's peak, packing
// costs 8; where weights lie, a row costs 0.15 more than packed and each time 0.7 (docs/adr/0031). A panel of few units
// is mostly padding.
inline Packing choose_packing(int64_t times, int64_t rows, int64_t outputs) {
  if (outputs < 8 || times * (0.7 + 0.15 * rows) <= 8) return Packing::none;
  return times == 1 ? Packing::at_use : Packing::ahead;
}

// Every other call of a thread. Where the weights are more than its cache holds, those that the call before read last
// are still there: LSTM T1 B1 H256 (2 MiB) 83 to 61 us, one thread.
inline bool every_other_call() {
  static thread_local bool turned = false;
  return turned = !turned;
}

// Of the backward pass, and of a pass that rounds its factors to bfloat16 or whose bits may not depend on sizes: one
// choice for all products.
template <class T>
Packing packing_of(const Problem<T>& p) {
  if (!p.same_bits && (p.before[p.times] <= 6 || p.hidden_size < 8)) return Packing::none;
  return p.times == 1 ? Packing::at_use : Packing::ahead;
}

template <class Cell, class T>
Plan make_plan(const Problem<T>& p, int64_t rows_per_chunk) {
  int64_t output = p.projection_size ? p.projection_size : p.hidden_size;
  int64_t rows = p.before[p.times];
  int64_t recurrent_weights = (Cell::recurrent_gates + Cell::gated) * p.hidden_size * output / p.heads;
  int64_t weights = recurrent_weights + Cell::input_gates * p.hidden_size * p.input_size;
  Plan plan;

  plan.times_per_chunk = smaller(p.times, larger(1, rows_per_chunk / larger(1, p.batch)));

  // A step by hidden units ends at a barrier (about a microsecond); a step by rows has none, but each thread reads all
  // weights: they should fit a core's second-level cache (LSTM T64 B128 H256, which just does, two threads: 45.5 ms by
  // rows, 50.0 by units).
  double step = 2.0 * (p.batch * recurrent_weights), whole = 2.0 * rows * weights;
  int64_t vectors = divide_up(p.hidden_size, Vec<T>::lanes), weight_bytes = sizeof(Factor<T>) / Factors<T>::numbers;
  if (is_packed(p.w_hh.format)) weight_bytes = group_bytes / group_size(p.w_hh.format);
  // Where rows are normalized, a step by units ends at two barriers: sums over a row are one thread's.
  plan.by_rows =
      p.times > 1 && p.batch >= 4 * p.threads && (normalizes<Cell> || recurrent_weights * weight_bytes <= (1 << 20));
  plan.threads = int(plan.by_rows ? smaller(p.threads, p.batch / 4) : smaller(p.threads, vectors));
  // Below these a region or a barrier costs more than it gains. One row, T100, two threads against one: LSTM H128
  // (1.3e5 a step) 0.33 ms instead of 0.53, GRU H100 (6e4) 0.17 instead of 0.23, RNN H128 (3e4) no difference, RNN H96
  // (2e4) 0.070 instead of 0.060.
  if (whole < 3e5 || (!plan.by_rows && step < 4e4)) plan.threads = 1;
  if (plan.threads <= 1) plan.threads = 1, plan.by_rows = true;
  plan.input = plan.recurrent = plan.backward = packing_of(p);
  if (!rounds_factors<T> && !p.same_bits) {
    plan.recurrent = choose_packing(p.times, p.batch, p.hidden_size);
    plan.input = choose_packing(1, rows, p.hidden_size);
    // In several chunks, or by threads that would each pack all of it for themselves.
    if (plan.input == Packing::at_use && (plan.times_per_chunk < p.times || (plan.threads > 1 && plan.by_rows)))
      plan.input = Packing::ahead;
  }
  plan.from_end = p.times == 1 && every_other_call();

  // Half of the call's time, since going on alone costs about as much as the rest of the call, assuming 32 operations a
  // tick (AVX-512 does 30 in GRU T100 B1 H256, 80 in LSTM T128 B32 H512). At least more than interrupts and a
  // hypervisor take on a quiet machine: another program gets a core for about 3 ms.
  plan.tolerable_delay = larger(200 * ticks_per_microsecond, int64_t(whole / 32 / plan.threads / 2));
  return plan;
}

// Where threads own rows and some end early: the first row of each share, so that all have about as many steps. There
// are `threads` + 1 of them, the last is the end.
inline void share_steps(const int64_t* active, int64_t times, int64_t batch, int threads, int64_t* first_rows) {
  int64_t total = 0, share = 0, steps = 0, of_row = times;
  for (int64_t t = 0; t < times; ++t) total += active[t];
  for (int64_t b = 0; b < batch; ++b, steps += of_row) {
    while (of_row > 0 && active[of_row - 1] <= b) --of_row;
    while (share < threads && steps * threads >= total * share) first_rows[share++] = b;
  }
  while (share <= threads) first_rows[share++] = batch;
}

// Whether the two directions of a layer run at the same time, each on half of the threads, or one after the other, each
// on all. At the same time no thread waits at a barrier, but each core needs all the weights of a direction. Two
// threads: LSTM T100 B1 H128 0.81 to 0.41 ms, T100 B8 H128 1.97 to 1.79; against that RNN T64 B32 H512 16.9 to 20.4.
template <class Cell, class T>
bool side_by_side(const Problem<T>& p) {
  int64_t gates = Cell::recurrent_gates + Cell::gated;
  int64_t weights = p.hidden_size * (gates * p.hidden_size / p.heads + Cell::input_gates * p.input_size);
  return p.threads > 1 && p.batch < 8 * p.threads && weights * int64_t(sizeof(T)) <= (1 << 20) &&
         2.0 * p.before[p.times] * weights > 1e5;
}

}  // namespace fastrnn::FASTRNN_TARGET
