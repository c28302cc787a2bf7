// The persistent kernel forward.
#include "on_chip.h"

namespace fastrnn::cuda {
namespace {

template <class Cell, class T>
struct ForwardMemory {
  static constexpr int pad = padding<T, false>;
  T *weights, *h, *fresh;  // [gate][unit][row]; [buffers][batch row][row]; [batch row][unit]
  float* sums;             // [split][gate][batch row][unit]

  // Blocks that do not share memory: the h of every team, twice.
  static void exchange(Team& team, int64_t teams) {
    team.exchanged = size_t(teams * 2 * team.rows * team.row) * sizeof(T), team.flags = teams * team.blocks;
  }
  // Of h in a block: two where other blocks write into it. Through global memory each fetches h_t itself, after its
  // product has read h_{t-1}.
  FASTRNN_DEVICE static int buffers(const Team& team) { return team.exchanged ? 1 : 2; }
  FASTRNN_DEVICE ForwardMemory(Shared& shared, const Team& team) {
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    h = shared.take<T>(int64_t(buffers(team)) * team.rows * team.row);
    fresh = shared.take<T>(int64_t(team.rows) * team.units);
    sums = shared.take<float>(int64_t(team.splits) * Cell::recurrent_gates * team.rows * (team.units + sum_padding));
  }
};

template <class Cell, class T>
FASTRNN_DEVICE ForwardStep step_at(const ForwardSequence& s, int64_t t) {
  ForwardStep p = s.step;
  p.from_input = after<float>(p.from_input, t * s.batch * Cell::input_gates * p.hidden_size);
  p.y = after<T>(p.y, t * s.y_step);
  p.saved = after<float>(p.saved, t * s.batch * p.saved_row);
  return p;
}

// The weights of all units stay with their blocks; h_{t-1} of all units is in every block. Where the others write h_t
// into it, it is there twice: a block may still read h_{t-1}.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads, 1) run_forward(ForwardSequence s) {
  const Team team = s.team;
  Blocks blocks(team.blocks, s.flags);
  constexpr int gates = Cell::recurrent_gates, pad = ForwardMemory<Cell, T>::pad;
  const int buffers = ForwardMemory<Cell, T>::buffers(team);
  const int64_t size = s.step.hidden_size, number = blockIdx.x / team.blocks, first_row = number * team.rows;
  const int first_unit = blocks.rank() * team.units, sum_row = team.units + sum_padding;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  Shared shared{shared_memory()};
  const ForwardMemory<Cell, T> memory(shared, team);
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  clear(memory.h, buffers * team.rows * team.row);
  clear(memory.fresh, team.rows * team.units);
  __syncthreads();
  share(rows * int(size), [&](int i) {
    const T* h = static_cast<const T*>(s.step.h) + first_row * size + i;
    store_operand(memory.h + i / int(size) * team.row + i % int(size), widened(*h));
  });
  blocks.sync();
  for (int64_t i = 0; i < s.times; ++i) {
    const T* h = memory.h + i % buffers * team.rows * team.row;
    T* next_h = memory.h + (i + 1) % buffers * team.rows * team.row;
    const int steps = (team.row - pad) / 16, pieces = team.units / 16;
    for (int item = threadIdx.x / 32; item < pieces * team.splits; item += warps) {
      const int piece = item % pieces, split = item / pieces;
      multiply_tile<gates, tiles, false>(
          memory.weights + piece * 16 * team.row, team.row, team.units * team.row, h, team.row,
          steps * split / team.splits * 16, steps * (split + 1) / team.splits * 16,
          memory.sums + split * gates * team.rows * sum_row + piece * 16, sum_row, team.rows * sum_row);
    }
    __syncthreads();
    const ForwardStep p = step_at<Cell, T>(s, s.reverse ? s.times - 1 - i : i);
    share(team.rows * team.units, [&](int e) {
      const int unit = e % team.units, row = e / team.units;
      if (unit >= units || row >= rows) return;
      Scalar<float> a[Cell::slots] = {};
      add_input_gates<Cell, T>(p, first_row + row, first_unit + unit, a);
      add_recurrent_gates<Cell, T>(p, first_unit + unit, a, [&](int g) {
        Scalar<float> sum{0};
        for (int split = 0; split < team.splits; ++split)
          sum = sum + Scalar<float>{memory.sums[((split * gates + g) * team.rows + row) * sum_row + unit]};
        return sum;
      });
      store_operand(memory.fresh + e, apply_cell<Cell, T>(p, first_row + row, first_unit + unit, a).v);
    });
    __syncthreads();
    // 16 bytes at a time into the h of every block, or where every block gets it from.
    constexpr int numbers = 16 / sizeof(T);
    const int chunks = team.units / numbers;
    T* common = static_cast<T*>(s.exchange) + (number * 2 + (i + 1) % 2) * team.rows * team.row;
    share((Blocks::share_memory ? team.blocks : 1) * team.rows * chunks, [&](int j) {
      const int chunk = j % chunks, row = j / chunks % team.rows, column = first_unit + chunk * numbers;
      if (column >= team.row - pad) return;
      T* to = common;
      if constexpr (Blocks::share_memory) to = blocks.of(next_h, j / chunks / team.rows);
      *reinterpret_cast<int4*>(to + row * team.row + column) =
          *reinterpret_cast<const int4*>(memory.fresh + row * team.units + chunk * numbers);
    });
    blocks.sync();
    if constexpr (!Blocks::share_memory) {
      const int across = (team.row - pad) / numbers;
      share(team.rows * across, [&](int j) {
        const int place = j / across * team.row + j % across * numbers;
        *reinterpret_cast<int4*>(next_h + place) = load_remote(reinterpret_cast<const int4*>(common + place));
      });
      __syncthreads();
    }
  }
}

template <class Cell, class T>
auto forward_kernel(const Team& team) {
  auto of_rows = [&]<class Blocks>() {
    return team.rows == 8    ? run_forward<Blocks, Cell, T, 1>
           : team.rows == 16 ? run_forward<Blocks, Cell, T, 2>
                             : run_forward<Blocks, Cell, T, 4>;
  };
  if (team.exchanged) return of_rows.template operator()<BlocksOfGrid>();
  return team.blocks == 1 ? of_rows.template operator()<OneBlock>() : of_rows.template operator()<BlockCluster>();
}

}  // namespace

Team forward_team(const CellDescription& cell, Number number, int64_t hidden_size, int64_t batch, Regime regime) {
  return for_kernel(cell, number, Team{}, [&]<class Cell, class T>() {
    return team_of<ForwardMemory<Cell, T>>(hidden_size, batch, regime, forward_kernel<Cell, T>);
  });
}

cudaError_t forward_sequence(const ForwardSequence& s, cudaStream_t stream) {
  return for_kernel(*s.step.cell, s.step.number, cudaErrorInvalidValue, [&]<class Cell, class T>() {
    return launch(forward_kernel<Cell, T>(s.team), launch_for(s.team, s.batch), stream, s);
  });
}

}  // namespace fastrnn::cuda
