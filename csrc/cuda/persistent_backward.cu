// The persistent kernel backward.
#include "on_chip.h"

namespace fastrnn::cuda {
namespace {

template <class Cell, class T>
struct BackwardMemory {
  static constexpr int pad = padding<T, true>;
  T *weights, *dgates;  // as forward; [batch row][gate][unit]
  float* arrived;       // [2][from block][batch row][unit], if it is here and not in global memory

  FASTRNN_DEVICE static int dgates_row(const Team& team) {
    return Cell::recurrent_gates * team.units + padding<T, false>;
  }
  static void exchange(Team& team, int64_t teams) {
    team.exchanged = size_t(teams * 2 * team.blocks * team.blocks * part_size(team)) * sizeof(float);
    team.flags = teams * team.blocks;
  }
  FASTRNN_DEVICE BackwardMemory(Shared& shared, const Team& team) {
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    dgates = shared.take<T>(int64_t(team.rows) * dgates_row(team));
    arrived = shared.take<float>(team.exchanged ? 0 : 2 * int64_t(team.blocks) * part_size(team));
  }
};

template <class Cell, class T>
FASTRNN_DEVICE BackwardStep step_at(const BackwardSequence& s, int64_t t) {
  BackwardStep p = s.step;
  const int64_t size = p.hidden_size, before = s.reverse ? t + 1 : t - 1;
  const void* saved = p.saved;
  const void* y = p.y;
  const bool first = before < 0 || before >= s.times;
  p.saved = after<float>(saved, t * s.batch * p.saved_row);
  p.y = after<T>(y, t * s.y_step);
  p.y_before = first ? s.y_before : after<T>(y, before * s.y_step);
  p.c_before = first ? s.c_before : after<float>(saved, before * s.batch * p.saved_row + (Cell::saves - 1) * size);
  p.c_before_row = first ? s.c_before_row : p.saved_row;
  p.rows_before = p.y_before ? s.batch : 0, p.c_rows_before = p.c_before ? s.batch : 0;
  p.dy = after<T>(p.dy, t * s.dy_step);
  p.d_input = after<T>(p.d_input, t * s.batch * Cell::input_gates * size);
  p.d_recurrent = after<T>(p.d_recurrent, t * s.batch * Cell::recurrent_gates * size);
  p.d_vectors = after<float>(p.d_vectors, t * s.batch * Cell::vectors * size);
  p.h_before = after<T>(p.h_before, t * s.batch * size);
  return p;
}

// Each block knows the gates' gradients of its own units, and so a part of dL/dh_{t-1} of all units. It writes to every
// block the part that belongs there; who receives adds them up, always in the same order.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads, 1) run_backward(BackwardSequence s) {
  const Team team = s.team;
  Blocks blocks(team.blocks, s.flags);
  constexpr int gates = Cell::recurrent_gates, pad = BackwardMemory<Cell, T>::pad;
  const int64_t size = s.step.hidden_size, number = blockIdx.x / team.blocks, first_row = number * team.rows;
  const int first_unit = blocks.rank() * team.units, sum_row = team.units + sum_padding;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  const int dgates_row = BackwardMemory<Cell, T>::dgates_row(team), part = part_size(team);
  Shared shared{shared_memory()};
  const BackwardMemory<Cell, T> memory(shared, team);
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  clear(memory.dgates, team.rows * dgates_row);
  // Where block `to` finds what block `from` tells it in a step.
  auto message = [&](int64_t step, int to, int from) {
    if constexpr (Blocks::share_memory)
      return blocks.of(memory.arrived, to) + (step % 2 * team.blocks + from) * part;
    else
      return static_cast<float*>(s.exchange) +
             (((number * 2 + step % 2) * team.blocks + to) * team.blocks + from) * part;
  };
  auto arrived = [&](int64_t step, int row, int unit) {
    Scalar<float> sum{0};
    for (int from = 0; step > 0 && from < team.blocks; ++from) {
      const float* told = message(step, blocks.rank(), from) + row * sum_row + unit;
      sum = sum + Scalar<float>{Blocks::share_memory ? *told : load_remote(told)};
    }
    return sum;
  };
  auto each_unit = [&](auto visit) {
    share(team.rows * team.units, [&](int e) {
      if (e % team.units < units && e / team.units < rows) visit(e / team.units, e % team.units);
    });
  };
  blocks.sync();
  for (int64_t i = 0; i < s.times; ++i) {
    const BackwardStep p = step_at<Cell, T>(s, s.reverse ? i : s.times - 1 - i);
    each_unit([&](int row, int unit) {
      Scalar<float> da[Cell::slots] = {};
      const Scalar<float> dh = incoming_dh<T>(p, first_row + row, first_unit + unit) + arrived(i, row, unit);
      apply_cell_backward<Cell, T>(p, first_row + row, first_unit + unit, dh, da);
      each<gates>([&](auto g) {
        constexpr int slot = Cell::recurrent_slots[g];
        store_operand(memory.dgates + row * dgates_row + g * team.units + unit, da[slot].v);
      });
    });
    __syncthreads();
    for (int piece = threadIdx.x / 32; piece < (team.row - pad) / 16; piece += warps) {
      const int to = piece * 16 / team.units, unit = piece * 16 % team.units;
      multiply_tile<1, tiles, true>(memory.weights + piece * 16, team.row, 0, memory.dgates, dgates_row, 0,
                                    gates * team.units, message(i + 1, to, blocks.rank()) + unit, sum_row, 0);
    }
    blocks.sync();
  }
  each_unit([&](int row, int unit) {
    const int64_t place = (first_row + row) * size + first_unit + unit;
    write<float>(s.step.dh, place, read<float>(s.step.dh, place) + arrived(s.times, row, unit));
  });
}

template <class Cell, class T>
auto backward_kernel(const Team& team) {
  auto of_rows = [&]<class Blocks>() {
    return team.rows == 8    ? run_backward<Blocks, Cell, T, 1>
           : team.rows == 16 ? run_backward<Blocks, Cell, T, 2>
                             : run_backward<Blocks, Cell, T, 4>;
  };
  if (team.exchanged) return of_rows.template operator()<BlocksOfGrid>();
  return team.blocks == 1 ? of_rows.template operator()<OneBlock>() : of_rows.template operator()<BlockCluster>();
}

}  // namespace

Team backward_team(const CellDescription& cell, Number number, int64_t hidden_size, int64_t batch, Regime regime) {
  return for_kernel(cell, number, Team{}, [&]<class Cell, class T>() {
    return team_of<BackwardMemory<Cell, T>>(hidden_size, batch, regime, backward_kernel<Cell, T>);
  });
}

cudaError_t backward_sequence(const BackwardSequence& s, cudaStream_t stream) {
  return for_kernel(*s.step.cell, s.step.number, cudaErrorInvalidValue, [&]<class Cell, class T>() {
    return launch(backward_kernel<Cell, T>(s.team), launch_for(s.team, s.batch), stream, s);
  });
}

}  // namespace fastrnn::cuda
