// The step backward of a cell with layer normalization, a block for each row: through the normalization of c, where
// there is one, the plain cell, and the normalization of both products. And the sums over time of what the rows leave.
#include "cell_step.h"
#include "column_sums.h"
#include "layer_norm_row.h"

namespace fastrnn::cuda {
namespace {

// Through h = o tanh(gain_c norm(c) + b_c): leaves the gradients of what tanh reads and of the output gate in the row,
// and in dh what zoneout keeps.
template <class Cell, class T, bool optional>
__device__ NormGradient<Accumulated<T>> through_output(const BackwardStep& p, int64_t row, const Accumulated<T>* saved,
                                                       Accumulated<T>* left, BlockSums<Accumulated<T>>& block) {
  using Row = NormalizedRow<Cell>;
  using Plain = typename Cell::Plain;
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size;
  A sums[2] = {};
  for (int64_t u = threadIdx.x; u < size; u += blockDim.x) {
    const Scalar<A> normalized{saved[Row::normalized_c * size + u]}, gain = read<T>(p.vectors[2], u);
    const Scalar<A> activated = tanh(gain * normalized + read<T>(p.vectors[3], u));
    Scalar<A> dh = incoming_dh<T, optional>(p, row, u), dh_kept{};
    if (optional && p.masks.zoneout_h)
      dh_kept = blend_backward(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + u), dh);
    write<A>(p.dh, row * size + u, dh_kept);
    const Scalar<A> o{saved[(Row::plain + Plain::output_gate) * size + u]},
        d_read = dh * o * (1 - activated * activated);
    left[Plain::output_gate * size + u] = (dh * activated * o * (1 - o)).v, left[Row::of_c * size + u] = d_read.v;
    sums[0] += (d_read * gain).v, sums[1] += (d_read * gain * normalized).v;
  }
  block.add_up(sums);
  return {sums[0] / A(size), sums[1] / A(size), saved[p.saved_row - deviations_saved + 2]};
}

template <class Cell, class T, bool optional>
__global__ void __launch_bounds__(most_row_threads, 1) row_backward(BackwardStep p) {
  using Row = NormalizedRow<Cell>;
  using Plain = typename Cell::Plain;
  using A = Accumulated<T>;
  const int64_t row = blockIdx.x, size = p.hidden_size;
  const A* const saved = static_cast<const A*>(p.saved) + row * p.saved_row;
  A* const left = static_cast<A*>(p.d_vectors) + row * Row::gradients * size;
  BlockSums<A> block;
  NormGradient<A> of_c;
  if constexpr (Cell::carries_c) of_c = through_output<Cell, T, optional>(p, row, saved, left, block);

  auto scaled = [&](auto k, int64_t u) {  // the gradient of product k normalized
    constexpr int slot = Row::slot(k), gate = Row::gate(k), gains = !Row::of_input(k);
    return left[slot * size + u] * read<T>(p.vectors[gains], gate * size + u).v;
  };
  A sums[4] = {};
  for (int64_t u = threadIdx.x; u < size; u += blockDim.x) {
    const int64_t i = row * size + u;
    Scalar<A> save[Plain::saves + 1], none[1], da[Plain::slots];
    Scalar<A> h{}, c_before{}, dh{}, dc{}, dh_before, dh_kept{}, dc_kept{};
    each<Plain::saves>([&](auto k) { save[k] = {saved[(Row::plain + k) * size + u]}; });
    const Scalar<A> h_before = previous_h<T>(p, row, u);
    write<T>(p.h_before, i, optional ? h_before * dropout<T>(p.masks, i) : h_before);
    if constexpr (Plain::saves == 0)
      h = optional && p.masks.zoneout_h ? Scalar<A>{saved[Row::zoned * size + u]} : read<T>(p.y, row * p.y_row + u);
    if constexpr (Cell::carries_c) {
      c_before = previous_c<T>(p, row, u);
      const A d_normalized = left[Row::of_c * size + u] * read<T>(p.vectors[2], u).v;
      dc = incoming(read<A>(p.dc, i), p.left_c, i, p.resets_after.at(row)) +
           read<T>(p.devery_c, row * p.devery_c_row + u);
      if (optional && p.masks.zoneout_c)
        dc_kept = blend_backward(read<T>(p.masks.zoneout_c, row * p.masks.zoneout_c_row + u), dc);
      dc = dc + Scalar<A>{of_c.dx(d_normalized, saved[Row::normalized_c * size + u])};
    } else {
      dh = incoming_dh<T, optional>(p, row, u);
      if (optional && p.masks.zoneout_h)
        dh_kept = blend_backward(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + u), dh);
    }
    Plain::backward(save, none, h, h_before, c_before, dh, dc, da, none, dh_before);
    if constexpr (Cell::carries_c) {
      da[Plain::output_gate] = {left[Plain::output_gate * size + u]};  // which through_output has found, and dh
      write<A>(p.dc, i, optional ? dc + dc_kept : dc);
    } else {
      write<A>(p.dh, i, optional ? dh_before + dh_kept : dh_before);
    }
    each<Plain::slots>([&](auto k) { left[k * size + u] = da[k].v; });
    each<Cell::slots>([&](auto k) {
      constexpr int first = Row::of_input(k) ? 0 : 2;
      const A d_normalized = scaled(k, u);
      sums[first] += d_normalized, sums[first + 1] += d_normalized * saved[k * size + u];
    });
  }
  block.add_up(sums);
  const A of_input = A(Cell::input_gates * size), of_state = A(Cell::recurrent_gates * size);
  const A* const deviations = saved + p.saved_row - deviations_saved;
  const NormGradient<A> input{sums[0] / of_input, sums[1] / of_input, deviations[0]};
  const NormGradient<A> state{sums[2] / of_state, sums[3] / of_state, deviations[1]};
  for (int64_t u = threadIdx.x; u < size; u += blockDim.x)
    each<Cell::slots>([&](auto k) {
      constexpr bool of_input = Row::of_input(k);
      constexpr int gates = of_input ? Cell::input_gates : Cell::recurrent_gates;
      const A dx = (of_input ? input : state).dx(scaled(k, u), saved[k * size + u]);
      const int64_t place =
          of_input ? (row * gates + Row::gate(k)) * size + u : place_by_head<Cell, optional>(p, row, u, Row::gate(k));
      write<T>(of_input ? p.d_input : p.d_recurrent, place, {dx});
    });
}

// One of the sums: of a slot of d_vectors, or of that times a slot of what is saved.
template <class A>
struct SumOfSlot {
  A* to;
  int slot, times;  // -1: times nothing
};
template <class A>
struct SumsOfSlots {
  SumOfSlot<A> sums[18];
  const A *from, *saved;
  int64_t from_row, saved_row, rows, columns;
  bool add;
};

template <class A>
__global__ void __launch_bounds__(sum_columns* sum_parts) sum_slots(SumsOfSlots<A> p) {
  const SumOfSlot<A> sum = p.sums[blockIdx.y];
  sum_column(sum.to, p.rows, p.columns, p.add, [&](int64_t row, int64_t column) {
    const A x = p.from[row * p.from_row + sum.slot * p.columns + column];
    return sum.times < 0 ? x : x * p.saved[row * p.saved_row + sum.times * p.columns + column];
  });
}

template <class Cell, class A>
cudaError_t run_sums(const LayerNormSums& given, cudaStream_t stream) {
  using Row = NormalizedRow<Cell>;
  const int64_t size = given.hidden_size;
  SumsOfSlots<A> p{{},
                   static_cast<const A*>(given.d_vectors),
                   static_cast<const A*>(given.saved),
                   Row::gradients * size,
                   given.saved_row,
                   given.rows,
                   size,
                   given.add};
  unsigned count = 0;
  auto sum = [&](void* to, int gate, int slot, int times) {
    if (to) p.sums[count++] = {static_cast<A*>(to) + gate * size, slot, times};
  };
  for (int k = 0; k < Cell::slots; ++k) {
    sum(Row::of_input(k) ? given.db_ih : given.db_hh, Row::gate(k), Row::slot(k), -1);
    sum(given.dvectors[!Row::of_input(k)], Row::gate(k), Row::slot(k), k);
  }
  if constexpr (Cell::carries_c)
    sum(given.dvectors[2], 0, Row::of_c, Row::normalized_c), sum(given.dvectors[3], 0, Row::of_c, -1);
  static_assert(2 * Cell::slots + 2 * Cell::carries_c <= sizeof(p.sums) / sizeof(p.sums[0]));
  return count ? launch(sum_slots<A>, launch_sums(size, count, sizeof(A)), stream, p) : cudaSuccess;
}

}  // namespace

int64_t layer_norm_gradients(const CellDescription& cell, int64_t hidden_size) {
  return for_cell(NormalizedCells{}, cell, [&]<class Cell>() { return NormalizedRow<Cell>::gradients * hidden_size; });
}

cudaError_t layer_norm_backward(const BackwardStep& step, cudaStream_t stream) {
  return for_cell(NormalizedCells{}, *step.cell, [&]<class Cell>() {
    return for_number(step.number, [&]<class T>() {
      const Launch shape = launch_rows(step.rows, step.hidden_size, sizeof(Accumulated<T>));
      return launch(has_options(step) ? row_backward<Cell, T, true> : row_backward<Cell, T, false>, shape, stream,
                    step);
    });
  });
}

cudaError_t layer_norm_sums(const LayerNormSums& sums, cudaStream_t stream) {
  return for_cell(NormalizedCells{}, *sums.cell, [&]<class Cell>() {
    return sums.number == Number::float64 ? run_sums<Cell, double>(sums, stream) : run_sums<Cell, float>(sums, stream);
  });
}

}  // namespace fastrnn::cuda
