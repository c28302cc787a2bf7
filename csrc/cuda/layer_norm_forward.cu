// The step forward of a cell with layer normalization: a block takes a row of W_hh h through the normalization, the
// plain cell and, of an LSTM, the normalization of c. One kernel a step, as of other cells.
#include "cell_step.h"
#include "layer_norm_row.h"

namespace fastrnn::cuda {
namespace {

template <class A>
__global__ void __launch_bounds__(most_row_threads)
    normalize_row(A* products, int64_t columns, A* saved, int64_t saved_row) {
  BlockSums<A> block;
  A *x = products + blockIdx.x * columns, *to = saved ? saved + blockIdx.x * saved_row : x;
  const Moments<A> of_row = moments(columns, block, [&](int64_t i) { return x[i]; });
  for (int64_t i = threadIdx.x; i < columns; i += blockDim.x) to[i] = of_row.normalized(x[i]);
  if (saved && threadIdx.x == 0) to[saved_row - deviations_saved] = of_row.over_deviation();
}

// h: of the cell.
template <class Cell, class T, bool optional>
FASTRNN_DEVICE void write_h(const ForwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>> h) {
  const int64_t i = row * p.hidden_size + unit;
  if constexpr (optional) h = zoneout_h<Cell, T>(p, row, unit, h);
  const Scalar<Accumulated<T>> next = p.resets_after.at(row) ? read<T>(p.start_h, unit) : h;
  if constexpr (Cell::reads_h) write<Accumulated<T>>(p.state, i, next);
  write<T>(p.h, i, next);
  if (optional && p.read) write<T>(p.read, i, next * dropout<T>(p.masks, i));
  if (p.y) write<T>(p.y, row * p.y_row + unit, h);
}

template <class Cell, class T, bool optional>
__global__ void __launch_bounds__(most_row_threads, 1) row_forward(ForwardStep p) {
  using Row = NormalizedRow<Cell>;
  using Plain = typename Cell::Plain;
  using A = Accumulated<T>;
  const int64_t row = blockIdx.x, size = p.hidden_size;
  A* const from_state = static_cast<A*>(p.from_state) + row * Cell::recurrent_gates * size;
  A* const saved = p.saved ? static_cast<A*>(p.saved) + row * p.saved_row : nullptr;
  const A* const from_input = saved ? saved : static_cast<const A*>(p.from_input) + row * Cell::input_gates * size;
  auto place = [&](int64_t u, int g) { return place_by_head<Cell, optional>(p, 0, u, g); };  // in from_state
  BlockSums<A> block;
  const Moments<A> of_state = moments(Cell::recurrent_gates * size, block, [&](int64_t i) { return from_state[i]; });
  for (int64_t u = threadIdx.x; u < size; u += blockDim.x) {
    Scalar<A> a[Plain::slots] = {}, save[Plain::saves + 1], none[1], h, state{};
    each<Cell::slots>([&](auto k) {
      constexpr bool of_input = Row::of_input(k);
      constexpr int gate = Row::gate(k), slot = Row::slot(k);
      const A normalized = of_input ? from_input[gate * size + u] : of_state.normalized(from_state[place(u, gate)]);
      a[slot] = a[slot] + read<T>(of_input ? p.b_ih : p.b_hh, gate * size + u) +
                read<T>(p.vectors[of_input ? 0 : 1], gate * size + u) * Scalar<A>{normalized};
      if (!of_input && saved) saved[k * size + u] = normalized;
    });
    if constexpr (Cell::carries_c || Cell::reads_h) state = read<A>(p.state, row * size + u);
    Plain::forward(a, none, state, state, h, save);
    if (saved) each<Plain::saves>([&](auto k) { saved[(Row::plain + k) * size + u] = save[k].v; });
    if constexpr (Cell::carries_c) {
      from_state[place(u, 0)] = state.v, from_state[place(u, 1)] = save[Plain::output_gate].v;  // for the next pass
      if constexpr (optional) state = zoneout_c<T>(p, row, u, state);
      if (optional && saved && p.masks.zoneout_c) saved[Row::zoned * size + u] = state.v;
      write<A>(p.state, row * size + u, p.resets_after.at(row) ? read<T>(p.start_c, u) : state);
      if (p.every_c) write<T>(p.every_c, row * p.every_c_row + u, state);
    } else {
      if (optional && Plain::saves == 0 && saved && p.masks.zoneout_h) saved[Row::zoned * size + u] = h.v;
      write_h<Cell, T, optional>(p, row, u, h);
    }
  }
  A over_deviation_of_c = 0;
  if constexpr (Cell::carries_c) {  // h = o tanh(gain_c norm(c) + b_c)
    const Moments<A> of_c = moments(size, block, [&](int64_t u) { return from_state[place(u, 0)]; });
    over_deviation_of_c = of_c.over_deviation();
    for (int64_t u = threadIdx.x; u < size; u += blockDim.x) {
      const Scalar<A> normalized{of_c.normalized(from_state[place(u, 0)])}, o{from_state[place(u, 1)]};
      write_h<Cell, T, optional>(p, row, u, o * tanh(read<T>(p.vectors[2], u) * normalized + read<T>(p.vectors[3], u)));
      if (saved) saved[Row::normalized_c * size + u] = normalized.v;
    }
  }
  if (!saved || threadIdx.x > 0) return;
  A* const deviations = saved + p.saved_row - deviations_saved;  // normalize_input() has written the first
  deviations[1] = of_state.over_deviation(), deviations[2] = over_deviation_of_c, deviations[3] = 0;
}

}  // namespace

cudaError_t normalize_input(const CellDescription& cell, Number number, void* products, int64_t rows,
                            int64_t hidden_size, void* saved, int64_t saved_row, cudaStream_t stream) {
  const int64_t columns = cell.input_gates * hidden_size;
  auto run = [&]<class A>(A* x) {
    return launch(normalize_row<A>, launch_rows(rows, columns, sizeof(A)), stream, x, columns, static_cast<A*>(saved),
                  saved_row);
  };
  return number == Number::float64 ? run(static_cast<double*>(products)) : run(static_cast<float*>(products));
}

cudaError_t layer_norm_forward(const ForwardStep& step, cudaStream_t stream) {
  return for_cell(NormalizedCells{}, *step.cell, [&]<class Cell>() {
    return for_number(step.number, [&]<class T>() {
      const Launch shape = launch_rows(step.rows, step.hidden_size, sizeof(Accumulated<T>));
      return launch(has_options(step) ? row_forward<Cell, T, true> : row_forward<Cell, T, false>, shape, stream, step);
    });
  });
}

}  // namespace fastrnn::cuda
