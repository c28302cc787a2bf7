// The persistent kernel backward.
#include <string.h>

#include "on_chip.h"

namespace fastrnn::cuda {
namespace {

template <class Cell, class T>
struct BackwardMemory {
  static constexpr int pad = padding<T, true>;
  T *weights, *dgates;     // as forward; [batch row][gate][unit]
  float* arrived;          // [2][from block][piece][tile][place], if it is here and not in global memory
  float *saved, *c_prev;   // [number][batch row][unit]; [batch row][unit]
  float *dy, *h, *h_prev;  // [batch row][unit]
  float *dh, *dc;          // [batch row][unit], without what arrives
  uint64_t* arrivals;

  FASTRNN_DEVICE static int dgates_row(const Team& team) {
    return Cell::recurrent_gates * team.units + padding<T, false>;
  }
  static void exchange(Team& team, int64_t teams) {
    team.exchanged = size_t(teams * 2 * team.blocks * team.blocks * part_size(team)) * sizeof(float);
    team.flags = teams * team.blocks;
  }
  FASTRNN_DEVICE BackwardMemory(Shared& shared, const Team& team) {
    const int64_t places = int64_t(team.rows) * team.units;
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    dgates = shared.take<T>(int64_t(team.rows) * dgates_row(team));
    arrived = shared.take<float>(team.exchanged ? 0 : 2 * int64_t(team.blocks) * part_size(team));
    saved = shared.take<float>(Cell::saves * places);
    c_prev = shared.take<float>(Cell::carries_c ? places : 0);
    dy = shared.take<float>(places);
    h = shared.take<float>(Cell::saves ? 0 : places);
    h_prev = shared.take<float>(places);
    dh = shared.take<float>(places);
    dc = shared.take<float>(Cell::carries_c ? places : 0);
    arrivals = shared.take<uint64_t>(2);
  }
};

// Brings what a step reads from global memory into shared memory, each thread what it will need itself.
template <class Cell, class T>
FASTRNN_DEVICE void bring(const BackwardSequence& s, const BackwardMemory<Cell, T>& memory, int64_t t, int places,
                          int place, int64_t row, int64_t unit) {
  const BackwardStep& p = s.step;
  const int64_t size = p.hidden_size, before = s.reverse ? t + 1 : t - 1;
  const bool first = before < 0 || before >= s.times;
  const float* saved = static_cast<const float*>(p.saved) + row * p.saved_row + unit;
  each<Cell::saves>(
      [&](auto k) { fetch(memory.saved + k * places + place, saved + t * s.batch * p.saved_row + k * size); });
  if constexpr (Cell::carries_c) {
    if (!first)
      fetch(memory.c_prev + place, saved + before * s.batch * p.saved_row + (Cell::saves - 1) * size);
    else
      memory.c_prev[place] = s.c_before ? read<float>(s.c_before, row * s.c_before_row + unit).v
                             : p.c0     ? read<T>(p.c0, row * size + unit).v
                                        : read<T>(p.start_c, unit).v;
  }
  memory.dy[place] = read<T>(p.dy, t * s.dy_step + row * p.dy_row + unit).v;
  if constexpr (Cell::saves == 0) memory.h[place] = read<T>(p.y, t * s.y_step + row * p.y_row + unit).v;
  memory.h_prev[place] = !first       ? read<T>(p.y, before * s.y_step + row * p.y_row + unit).v
                         : s.y_before ? read<T>(s.y_before, row * p.y_row + unit).v
                         : p.h0       ? read<T>(p.h0, row * size + unit).v
                                      : read<T>(p.start_h, unit).v;
}

// Where a number of 16 units and 8 batch rows lies in what a block tells another: a lane's four numbers (tile.h) side
// by side, lanes so that a warp reads different banks.
constexpr int tile_numbers = 128;
FASTRNN_DEVICE int lane_place(int lane) { return (lane % 4 * 8 + lane / 4) * 4; }
FASTRNN_DEVICE int place_in_part(int row, int unit, int tiles) {
  return (unit / 16 * tiles + row / 8) * tile_numbers + lane_place(unit % 8 * 4 + row % 8 / 2) + row % 2 +
         unit % 16 / 8 * 2;
}

// Each block knows the gates' gradients of its own units, and so a part of dL/dh_{t-1} of all units. It writes to every
// block the part that belongs there; who receives adds them up, always in the same order.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads, 1) run_backward(BackwardSequence s) {
  const Team team = s.team;
  using Memory = BackwardMemory<Cell, T>;
  constexpr int gates = Cell::recurrent_gates, pad = Memory::pad;
  Shared shared{shared_memory()};
  const Memory memory(shared, team);
  Blocks blocks(team.blocks, s.flags, memory.arrivals);
  const int64_t size = s.step.hidden_size, number = blockIdx.x / team.blocks, first_row = number * team.rows;
  const int first_unit = blocks.rank() * team.units, pieces = (team.row - pad) / 16, of_block = team.units / 16;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  const int dgates_row = Memory::dgates_row(team), part = part_size(team), tellers = blocks_with_units(team, pad);
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  clear(memory.dgates, team.rows * dgates_row);
  // What block `to` finds of what block `from` tells it in a step; of blocks that share memory here or there.
  auto message = [&](int64_t step, int to, int from) {
    if constexpr (Blocks::share_memory)
      return memory.arrived + (step % 2 * team.blocks + from) * part;
    else
      return static_cast<float*>(s.exchange) +
             (((number * 2 + step % 2) * team.blocks + to) * team.blocks + from) * part;
  };
  const int mine = pieces - blocks.rank() * of_block < of_block ? pieces - blocks.rank() * of_block : of_block;
  const int told_bytes = mine > 0 ? tellers * mine * tiles * tile_numbers * int(sizeof(float)) : 0;
  auto arrived = [&](int64_t step, int row, int unit) {
    Scalar<float> sum{0};
    const int place = place_in_part(row, unit, tiles);
    for (int from = 0; step > 0 && from < tellers; ++from) {
      const float* told = message(step, blocks.rank(), from) + place;
      sum = sum + Scalar<float>{Blocks::share_memory ? *told : load_remote(told)};
    }
    return sum;
  };
  const int count = team.rows * team.units, warp = threadIdx.x / 32;
  const Places places(threadIdx.x, block_threads, count, team.units);
  auto each_unit = [&](auto visit) {
    places.each([&](int place, int row, int unit) {
      if (unit < units && row < rows) visit(place, row, unit);
    });
  };
  auto bring_step = [&](int64_t i) {
    if (i == s.times) return;
    each_unit([&](int place, int row, int unit) {
      bring<Cell, T>(s, memory, s.reverse ? i : s.times - 1 - i, count, place, first_row + row, first_unit + unit);
    });
  };
  each_unit([&](int place, int row, int unit) {
    const int64_t i = (first_row + row) * size + first_unit + unit;
    memory.dh[place] = read<float>(s.step.dh, i).v;
    if constexpr (Cell::carries_c) memory.dc[place] = read<float>(s.step.dc, i).v;
  });
  bring_step(0);
  blocks.sync();
  for (int64_t i = 0; i < s.times; ++i) {
    const int64_t t = s.reverse ? i : s.times - 1 - i;
    wait_for_fetched();
    each_unit([&](int place, int row, int unit) {
      Quick save[Cell::saves + 1], w[Cell::vectors + 1], dw[Cell::vectors + 1], da[Cell::slots] = {};
      Quick h{}, h_prev{memory.h_prev[place]}, c_prev{}, dc{}, dh_prev{};
      each<Cell::saves>([&](auto k) { save[k] = {memory.saved[k * count + place]}; });
      each<Cell::vectors>([&](auto k) { w[k] = {read<T>(s.step.vectors[k], first_unit + unit).v}; });
      if constexpr (Cell::saves == 0) h.v = memory.h[place];
      if constexpr (Cell::carries_c) c_prev.v = memory.c_prev[place], dc.v = memory.dc[place];
      const Quick dh{memory.dy[place] + memory.dh[place] + arrived(i, row, unit).v};
      Cell::backward(save, w, h, h_prev, c_prev, dh, dc, da, dw, dh_prev);
      memory.dh[place] = dh_prev.v;
      if constexpr (Cell::carries_c) memory.dc[place] = dc.v;
      each<gates>([&](auto g) {
        constexpr int slot = Cell::recurrent_slots[g];
        store_operand(memory.dgates + row * dgates_row + g * team.units + unit, da[slot].v);
      });
      const int64_t of_batch = t * s.batch + first_row + row, column = first_unit + unit;
      if (s.step.h_before) store(static_cast<T*>(s.step.h_before) + of_batch * size + column, h_prev.v);
      if (s.step.d_vectors)
        each<Cell::vectors>([&](auto k) {
          static_cast<float*>(s.step.d_vectors)[(of_batch * Cell::vectors + k) * size + column] = dw[k].v;
        });
      each<Cell::input_gates>([&](auto g) {
        constexpr int slot = Cell::input_slots[g];
        store(static_cast<T*>(s.step.d_input) + (of_batch * Cell::input_gates + g) * size + column, da[slot].v);
      });
      if (s.step.d_recurrent)
        each<gates>([&](auto g) {
          constexpr int slot = Cell::recurrent_slots[g];
          store(static_cast<T*>(s.step.d_recurrent) + (of_batch * gates + g) * size + column, da[slot].v);
        });
    });
    __syncthreads();
    // A piece is 16 of all units; a warp's are `warps` apart, and several are multiplied at once.
    auto tell = [&]<int at_once>(int piece) {
      const TileSums<at_once, tiles> sums = multiply_tile<at_once, tiles, true>(
          memory.weights + piece * 16, team.row, warps * 16, memory.dgates, dgates_row, 0, gates * team.units);
#pragma unroll
      for (int n = 0; n < at_once; ++n, piece += warps) {
        const int to = piece / of_block;
        float* place =
            message(i + 1, to, blocks.rank()) + piece % of_block * tiles * tile_numbers + lane_place(threadIdx.x % 32);
#pragma unroll
        for (int tile = 0; tile < tiles; ++tile) {
          int4 four;
          memcpy(&four, sums.of[n][tile], sizeof(four));
          if constexpr (Blocks::share_memory)
            blocks.send(place + tile * tile_numbers, to, four);
          else
            *reinterpret_cast<int4*>(place + tile * tile_numbers) = four;
        }
      }
    };
    int piece = blocks.rank() < tellers ? warp : pieces;
    for (; piece + 3 * warps < pieces; piece += 4 * warps) tell.template operator()<4>(piece);
    if (piece + warps < pieces) tell.template operator()<2>(piece), piece += 2 * warps;
    if (piece < pieces) tell.template operator()<1>(piece);
    bring_step(i + 1);
    if constexpr (Blocks::share_memory) {
      __syncthreads();  // all of it has read the gates' gradients
      blocks.receive(told_bytes);
    } else {
      blocks.sync();
    }
  }
  each_unit([&](int place, int row, int unit) {
    const int64_t i = (first_row + row) * size + first_unit + unit;
    static_cast<float*>(s.step.dh)[i] = memory.dh[place] + arrived(s.times, row, unit).v;
    if constexpr (Cell::carries_c) static_cast<float*>(s.step.dc)[i] = memory.dc[place];
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
