// The persistent kernel forward.
#include "on_chip.h"

namespace fastrnn::cuda {
namespace {

template <class Cell, class T>
struct ForwardMemory {
  static constexpr int pad = padding<T, false>;
  static constexpr bool has_state = Cell::carries_c || Cell::reads_h;
  T *weights, *h, *fresh;  // [gate][unit][row]; [buffers][batch row][row]; [batch row][unit]
  float* sums;             // [split][gate][batch row][unit]
  float* inputs;           // [gate][batch row][unit]: x · W_ihᵀ of the step
  float *b_ih, *b_hh;      // [gate][unit]
  float* state;            // [batch row][unit], of cells that have one
  uint64_t* arrivals;

  // Blocks that do not share memory: the h of every team, twice.
  static void exchange(Team& team, int64_t teams) {
    team.exchanged = size_t(teams * 2 * team.rows * team.row) * sizeof(T), team.flags = teams * team.blocks;
  }
  // Of h in a block: two where other blocks write into it. Through global memory each fetches h_t itself, after its
  // product has read h_{t-1}.
  FASTRNN_DEVICE static int buffers(const Team& team) { return team.exchanged ? 1 : 2; }
  FASTRNN_DEVICE ForwardMemory(Shared& shared, const Team& team) {
    const int64_t places = int64_t(team.rows) * team.units;
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    h = shared.take<T>(int64_t(buffers(team)) * team.rows * team.row);
    fresh = shared.take<T>(places);
    sums = shared.take<float>(int64_t(team.splits) * Cell::recurrent_gates * team.rows * (team.units + sum_padding));
    inputs = shared.take<float>(Cell::input_gates * places);
    b_ih = shared.take<float>(int64_t(Cell::input_gates) * team.units);
    b_hh = shared.take<float>(int64_t(Cell::recurrent_gates) * team.units);
    state = shared.take<float>(has_state ? places : 0);
    arrivals = shared.take<uint64_t>(2);
  }
};

template <class T>
FASTRNN_DEVICE void load_biases(float* to, const void* bias, int gates, int first, int units, const Team& team,
                                int64_t size) {
  Places(threadIdx.x, block_threads, gates * team.units, team.units).each([=](int place, int gate, int unit) {
    to[place] = unit < units ? read<T>(bias, gate * size + first + unit).v : 0;
  });
}

// The weights of all units stay with their blocks; h_{t-1} of all units is in every block. Where the others write h_t
// into it, it is there twice: a block may still read h_{t-1}. Of tiles whose weights fit, they stay in registers.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads, 1) run_forward(ForwardSequence s) {
  const Team team = s.team;
  using Memory = ForwardMemory<Cell, T>;
  constexpr int gates = Cell::recurrent_gates, pad = Memory::pad;
  Shared shared{shared_memory()};
  const Memory memory(shared, team);
  Blocks blocks(team.blocks, s.flags, memory.arrivals);
  const int buffers = Memory::buffers(team);
  const int64_t size = s.step.hidden_size, number = blockIdx.x / team.blocks, first_row = number * team.rows;
  const int first_unit = blocks.rank() * team.units, sum_row = team.units + sum_padding;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  const int warp = threadIdx.x / 32, pieces = team.units / 16, items = pieces * team.splits;
  const int steps = (team.row - pad) / 16, places = team.rows * team.units;
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  load_biases<T>(memory.b_ih, s.step.b_ih, Cell::input_gates, first_unit, units, team, size);
  load_biases<T>(memory.b_hh, s.step.b_hh, gates, first_unit, units, team, size);
  clear(memory.h, buffers * team.rows * team.row);
  clear(memory.fresh, places);
  const Places mine(threadIdx.x, block_threads, places, team.units);
  auto each_unit = [&](auto visit) {
    mine.each([&](int place, int row, int unit) {
      if (unit < units && row < rows) visit(place, first_row + row, unit);
    });
  };
  auto fetch_inputs = [&](int place, int64_t row, int unit, int64_t t) {
    const auto* from = static_cast<const float*>(s.step.from_input) + (t * s.batch + row) * Cell::input_gates * size +
                       first_unit + unit;
    each<Cell::input_gates>([&](auto g) { fetch(memory.inputs + g * places + place, from + g * size); });
  };
  auto time = [&](int64_t i) { return s.reverse ? s.times - 1 - i : i; };
  each_unit([&](int place, int64_t row, int unit) {
    if constexpr (Memory::has_state) memory.state[place] = read<float>(s.step.state, row * size + first_unit + unit).v;
    fetch_inputs(place, row, unit, time(0));
  });
  __syncthreads();
  share(rows * int(size), [&](int i) {
    const T* h = static_cast<const T*>(s.step.h) + first_row * size + i;
    store_operand(memory.h + i / int(size) * team.row + i % int(size), widened(*h));
  });
  // What a warp multiplies: the units of a piece, over one part of the depth.
  struct Item {
    const T* weights;
    int begin, end;
    float* sums;
  };
  const int gate_sums = team.rows * sum_row;
  auto item = [&](int n) {
    const int piece = n % pieces, split = n / pieces;
    return Item{memory.weights + piece * 16 * team.row, steps * split / team.splits * 16,
                steps * (split + 1) / team.splits * 16, memory.sums + split * gates * gate_sums + piece * 16};
  };
  const Item own = item(warp < items ? warp : 0);
  // 128 registers of a lane at most, beside the sums of many rows none.
  constexpr int resident_steps = tiles > 2 ? 1 : 32 / gates < 8 ? 32 / gates : 8;
  ResidentTile<gates, resident_steps, false, T> tile;
  const bool resident =
      tiles <= 2 && items <= warps && (steps + team.splits - 1) / team.splits * 16 <= decltype(tile)::most_depth;
  blocks.sync();
  if (resident && warp < items) tile.load(own.weights, team.row, team.units * team.row, own.begin, own.end);
  auto write_sums = [&](const TileSums<gates, tiles>& sums, float* to) {
#pragma unroll
    for (int g = 0; g < gates; ++g)
#pragma unroll
      for (int n = 0; n < tiles; ++n)
#pragma unroll
        for (int j = 0; j < 4; ++j) to[g * gate_sums + tile_row(n, j) * sum_row + tile_column(j)] = sums.of[g][n][j];
  };
  constexpr int numbers = 16 / sizeof(T);  // of 16 bytes, in which h is told
  const int chunks = team.units / numbers;
  // A warp tells one block after the other, or all threads tell everyone through global memory.
  constexpr int tellers = Blocks::share_memory ? 32 : block_threads;
  const Places told(threadIdx.x % tellers, tellers, rows * chunks, chunks);
  for (int64_t i = 0; i < s.times; ++i) {
    const T* h = memory.h + i % buffers * team.rows * team.row;
    T* next_h = memory.h + (i + 1) % buffers * team.rows * team.row;
    if (resident) {
      if (warp < items) write_sums(tile.template multiply<tiles>(h, team.row), own.sums);
    } else {
      for (int n = warp; n < items; n += warps) {
        const Item one = item(n);
        write_sums(multiply_tile<gates, tiles, false>(one.weights, team.row, team.units * team.row, h, team.row,
                                                      one.begin, one.end),
                   one.sums);
      }
    }
    wait_for_fetched();
    __syncthreads();
    const int64_t t = time(i);
    const bool last = i + 1 == s.times;
    each_unit([&](int place, int64_t row, int unit) {
      Quick a[Cell::slots] = {}, w[Cell::vectors + 1], save[Cell::saves + 1], h, state{};
      each<Cell::input_gates>([&](auto g) {
        constexpr int slot = Cell::input_slots[g];
        a[slot].v += memory.inputs[g * places + place] + memory.b_ih[g * team.units + unit];
      });
      if (!last) fetch_inputs(place, row, unit, time(i + 1));
      float product[gates] = {};
      const float* part = memory.sums + (row - first_row) * sum_row + unit;
#pragma unroll 4
      for (int split = 0; split < team.splits; ++split, part += gates * gate_sums)
        each<gates>([&](auto g) { product[g] += part[g * gate_sums]; });
      each<gates>([&](auto g) {
        constexpr int slot = Cell::recurrent_slots[g];
        a[slot].v += product[g] + memory.b_hh[g * team.units + unit];
      });
      if constexpr (Memory::has_state) state.v = memory.state[place];
      each<Cell::vectors>([&](auto k) { w[k] = {read<T>(s.step.vectors[k], first_unit + unit).v}; });
      Cell::forward(a, w, state, state, h, save);
      if constexpr (Memory::has_state) memory.state[place] = Cell::carries_c ? state.v : h.v;
      store_operand(memory.fresh + place, h.v);
      const int64_t column = first_unit + unit;
      if (s.step.y) store(static_cast<T*>(s.step.y) + t * s.y_step + row * s.step.y_row + column, h.v);
      if (s.step.saved)
        each<Cell::saves>([&](auto k) {
          static_cast<float*>(s.step.saved)[(t * s.batch + row) * s.step.saved_row + k * size + column] = save[k].v;
        });
      if (!last) return;
      store(static_cast<T*>(s.step.h) + row * size + column, h.v);
      if constexpr (Memory::has_state) static_cast<float*>(s.step.state)[row * size + column] = memory.state[place];
    });
    if (last) return;
    __syncthreads();
    T* common = static_cast<T*>(s.exchange) + (number * 2 + (i + 1) % 2) * team.rows * team.row;
    auto tell = [&](T* to, int block) {
      told.each([&](int place, int row, int chunk) {
        const int column = first_unit + chunk * numbers;
        if (column >= team.row - pad) return;
        const int4 value = *reinterpret_cast<const int4*>(memory.fresh + place * numbers);
        if constexpr (Blocks::share_memory)
          blocks.send(to + row * team.row + column, block, value);
        else
          *reinterpret_cast<int4*>(to + row * team.row + column) = value;
      });
    };
    if constexpr (Blocks::share_memory) {
      for (int block = warp; block < team.blocks; block += warps) tell(next_h, block);
      blocks.receive(rows * (team.row - pad) * int(sizeof(T)));
    } else {
      tell(common, 0);
      blocks.sync();
      const int across = (team.row - pad) / numbers;
      share(rows * across, [&](int j) {
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
