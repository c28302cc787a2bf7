// One direction of a layer as the loops over time see it, forward and backward.
//
// Of x, y, their gradients and what is saved there is a row per (time, batch row). Products take the rows of a chunk of
// times as one matrix, rows the same distance apart: packed and time-first input lies so; batch-first input is copied,
// chunk by chunk.
#pragma once
#include <cuda_runtime_api.h>

#include <algorithm>
#include <climits>

#include "layer_norm.h"
#include "masks.h"
#include "passes.h"
#include "product.h"
#include "resets.h"
#include "rows.h"

namespace fastrnn::cuda {

// Throws the error of a launch or a copy, if it is one.
void check(cudaError_t error);

// What the loops run on.
struct Queue {
  Products products;
  cudaStream_t stream;
};

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

template <class T>
struct Sequence {
  using A = Accumulated<T>;

  const Problem<void>& p;
  const Precision precision;
  const CellDescription& cell = *p.cell;
  const int64_t batch = p.batch, input = p.input_size, hidden = p.hidden_size;
  const int64_t output = projected() ? p.projection_size : hidden;
  const int64_t heads = p.heads, depth = output / heads;  // depth: of h that a head's units read, the columns of w_hh
  const int64_t input_width = cell.input_gates * hidden;  // of x · W_ihᵀ
  const int64_t state_width = cell.recurrent_gates * hidden;
  const bool zones_c = p.zoneout_c.data;
  const int64_t saved_row = cuda::saved_row(cell, hidden, {projected(), p.zoneout_h.data != nullptr, zones_c});
  // Among what a unit saves: the last, but for what the row has.
  const int64_t slot_of_c = cell.saves - 1 - cell.normalized + (zones_c ? 1 + projected() : 0);
  const T* const w_ih = weight(p.w_ih);
  const T* const w_hh = weight(p.w_hh);
  const T* const w_hh_gated = w_hh + state_width * depth;  // of the second product
  const T* const w_hr = weight(p.w_hr);
  const T* const b_ih = weight(p.b_ih);
  const T* const b_hh = weight(p.b_hh);
  const T* const h0 = static_cast<const T*>(p.h0);
  const T* const c0 = static_cast<const T*>(p.c0);
  const T* const start_h = weight(p.start_h);
  const T* const start_c = weight(p.start_c);
  const T* const recurrent_mask = static_cast<const T*>(p.recurrent_mask);

  static const T* weight(const Weights<void>& w) { return static_cast<const T*>(w.data); }

  bool projected() const { return p.projection_size > 0; }
  bool has_state() const { return cell.carries_c || cell.reads_h; }
  // The recurrent products, one for each head: what W_hh multiplies and makes of it, by head, and the weights of all
  // gates of a head side by side (weights_by_head).
  template <class V>
  Matrix state(V* h) const {
    return {h, output, depth};
  }
  template <class V>
  Matrix gates_of_state(V* gates, int64_t row) const {
    return {gates, row, state_width / heads};
  }
  template <class V>
  Matrix gated(V* units, int64_t row) const {
    return {units, row, hidden / heads};
  }
  template <class V>
  Matrix weights_of_state(V* w) const {
    return {w, depth, state_width / heads * depth};
  }
  template <class V>
  Matrix weights_of_gated(V* w) const {
    return {w, depth, hidden / heads * depth};
  }
  // W_hh has gate by gate, in each the rows of one head after the other; here it is the other way round.
  void weights_by_head(T* to, cudaStream_t stream) const {
    check(transpose_blocks(to, w_hh, cell.recurrent_gates, heads, hidden / heads * depth, stream));
  }

  bool masked() const { return p.recurrent_mask || p.zoneout_h.data || p.zoneout_c.data; }
  // The kernels that FASTRNN_CUDA_KERNEL asks for, if they serve this: all rows at all times, no projection, no resets,
  // no masks, one head, c after the last step alone.
  Regime regime() const {
    const Regime asked_for = regime_for(cell, precision);
    const bool uneven = p.before[p.times] != p.times * batch;
    const bool with_options = p.device_resets.data || masked() || heads > 1 || p.every_c.data;
    return projected() || uneven || with_options ? step_by_step : asked_for;
  }

  // The i-th time of a range in the direction of the loop, and the time before one, which may not exist.
  int64_t time(Range times, int64_t i) const { return p.reverse ? times.end - 1 - i : times.begin + i; }
  int64_t previous(int64_t t) const { return p.reverse ? t + 1 : t - 1; }
  // How many rows of time t have a step before it. Rows are sorted by length, so they are the first ones.
  int64_t rows_before(int64_t t) const {
    const int64_t before = previous(t);
    return before < 0 || before >= p.times ? 0 : std::min(p.active[t], p.active[before]);
  }
  // The rows that begin anew with the step at t. In reverse the split is between t + 1 and t: at the end of a row there
  // is none.
  Resets resets_before(int64_t t) const {
    const int64_t later = p.reverse ? t + 1 : t;
    if (!p.device_resets.data || later >= p.times) return {};
    return {p.device_resets.data + offset(p.device_resets, later), p.device_resets.row, p.active[later]};
  }
  // Those that do with the step after it, if there is one.
  Resets resets_after(int64_t t) const {
    const int64_t next = p.reverse ? t - 1 : t + 1;
    return next < 0 || next >= p.times ? Resets{} : resets_before(next);
  }
  Masks masks(int64_t t) const {
    return {recurrent_mask, at(p.zoneout_h, t), at(p.zoneout_c, t), p.zoneout_h.row, p.zoneout_c.row};
  }
  int64_t rows(Range times) const { return p.before[times.end] - p.before[times.begin]; }
  // Piece n of all times cut into pieces, again in the direction of the loop.
  Range piece(int64_t n, int64_t steps) const {
    if (p.reverse) n = pieces(steps) - 1 - n;
    return {n * steps, std::min((n + 1) * steps, p.times)};
  }
  int64_t pieces(int64_t steps) const { return (p.times + steps - 1) / steps; }

  // The first row of time t; null where there is no such matrix.
  const T* at(const Rows<const void>& rows, int64_t t) const {
    return rows.data ? static_cast<const T*>(rows.data) + offset(rows, t) : nullptr;
  }
  T* at(const Rows<void>& rows, int64_t t) const {
    return rows.data ? static_cast<T*>(rows.data) + offset(rows, t) : nullptr;
  }
  A* saved(int64_t t) const { return p.saved.data ? static_cast<A*>(p.saved.data) + p.before[t] * saved_row : nullptr; }
  // What a row leaves to the gradients of the cell's own vectors, in a sum over rows.
  int64_t vectors_row() const { return cell.normalized ? layer_norm_gradients(cell, hidden) : cell.vectors * hidden; }
  A* checkpoint(int64_t piece) const { return static_cast<A*>(p.checkpoints) + piece * batch * hidden; }

  // Numbers between the rows of a matrix that is one for products; 0 if it is not, or if its rows share memory.
  template <class V>
  int64_t matrix_row(const Rows<V>& rows, int64_t width) const {
    const int64_t row = batch == 1 && !rows.packed ? rows.step : rows.row;
    const bool evenly = rows.packed || p.times == 1 || batch == 1 || rows.step == batch * rows.row;
    return evenly && width <= row && row <= INT_MAX ? row : 0;
  }
  // How the rows of some times lie.
  Lying<const T> lying(const Rows<const void>& rows, Range times) const {
    return {at(rows, times.begin), rows.packed ? this->rows(times) : batch, rows.step, rows.row};
  }
  Lying<T> lying(const Rows<void>& rows, Range times) const {
    return {at(rows, times.begin), rows.packed ? this->rows(times) : batch, rows.step, rows.row};
  }
  // Numbers from a time to the next where every time has all rows.
  template <class V>
  int64_t step(const Rows<V>& rows) const {
    return rows.step + rows.packed * batch;
  }

  // What every row begins with: the given state, or `start`, or zeros.
  template <class To>
  void begin(To* to, const T* given, const T* start, int64_t columns, cudaStream_t stream) const {
    const Resets resets = resets_before(time({0, p.times}, 0));
    check(resets.data || (start && !given) ? begin_rows(to, given, start, resets, batch, columns, stream)
                                           : convert(to, given, batch * columns, stream));
  }

  // The input of some times as one matrix, copied if it is not.
  Matrix x(Range times, T* copy, cudaStream_t stream) const {
    if (const int64_t row = matrix_row(p.x, input)) return {at(p.x, times.begin), row};
    const int64_t count = rows(times);
    check(copy_rows<T>({copy, count, 0, input}, lying(p.x, times), count, input, stream));
    return {copy, input};
  }

 private:
  template <class V>
  int64_t offset(const Rows<V>& rows, int64_t t) const {
    return t * rows.step + p.before[t] * rows.packed;
  }
};

}  // namespace fastrnn::cuda
