#include "../cells/cells.h"
#include "cell_step.h"
#include "launch.h"
#include "persistent.h"
#include "tile.h"

namespace fastrnn::cuda {
namespace {

constexpr int block_threads = 256, warps = block_threads / 32;
constexpr int padding = 8;      // of a row of 16-bit numbers: 16 bytes, so that 8 rows lie in different banks
constexpr int sum_padding = 4;  // of a row of float sums, likewise for the way multiply_tile() writes them

constexpr int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// A block's shared memory, taken piece by piece.
class Shared {
 public:
  template <class T>
  FASTRNN_DEVICE T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(next);
    next += (count * int64_t(sizeof(T)) + 15) / 16 * 16;
    return piece;
  }
  FASTRNN_DEVICE int64_t taken(const char* begin) const { return next - begin; }
  char* next;
};

template <class Cell, class T>
struct ForwardMemory {
  T *weights, *h, *fresh;  // [gate][unit][row]; [2][batch row][row]; [batch row][unit]
  float* sums;             // [split][gate][batch row][unit]

  FASTRNN_DEVICE ForwardMemory(Shared& shared, const Team& team) {
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    h = shared.take<T>(2 * int64_t(team.rows) * team.row);
    fresh = shared.take<T>(int64_t(team.rows) * team.units);
    sums = shared.take<float>(int64_t(team.splits) * Cell::recurrent_gates * team.rows * (team.units + sum_padding));
  }
};

template <class Cell, class T>
struct BackwardMemory {
  T *weights, *dgates;  // as forward; [batch row][gate][unit]
  float* arrived;       // [2][from block][batch row][unit]

  FASTRNN_DEVICE BackwardMemory(Shared& shared, const Team& team) {
    weights = shared.take<T>(int64_t(Cell::recurrent_gates) * team.units * team.row);
    dgates = shared.take<T>(int64_t(team.rows) * (Cell::recurrent_gates * team.units + padding));
    arrived = shared.take<float>(2 * int64_t(team.blocks) * team.rows * (team.units + sum_padding));
  }
};

// visit(i) for i = this thread's share of 0 … count-1.
template <class Visit>
FASTRNN_DEVICE void share(int count, Visit visit) {
  for (int i = threadIdx.x; i < count; i += block_threads) visit(i);
}

template <class T>
FASTRNN_DEVICE void clear(T* numbers, int count) {
  share(count, [=](int i) { numbers[i] = T{}; });
}

// The rows of W_hh that belong to units [first, first + units), zero beyond what exists.
template <class Cell, class T>
FASTRNN_DEVICE void load_weights(T* weights, const T* w_hh, int first, const Team& team, int64_t size) {
  share(Cell::recurrent_gates * team.units * team.row, [=](int i) {
    const int k = i % team.row, unit = first + i / team.row % team.units, gate = i / team.row / team.units;
    weights[i] = unit < size && k < size ? w_hh[(gate * size + unit) * size + k] : T{};
  });
}

// A pointer moved on by rows of a matrix.
template <class T, class Pointer>
FASTRNN_DEVICE Pointer after(Pointer p, int64_t numbers) {
  return p ? Pointer(reinterpret_cast<intptr_t>(p) + numbers * int64_t(sizeof(T))) : p;
}

template <class Cell, class T>
FASTRNN_DEVICE ForwardStep step_at(const ForwardSequence& s, int64_t t) {
  ForwardStep p = s.step;
  p.from_input = after<float>(p.from_input, t * s.batch * Cell::input_gates * p.hidden_size);
  p.y = after<T>(p.y, t * s.batch * p.y_row);
  p.saved = after<float>(p.saved, t * s.batch * p.saved_row);
  return p;
}

// The weights of all units stay with their blocks; h_{t-1} of all units is in every block, twice, so that the others
// may write h_t while a block still reads h_{t-1}.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads) run_forward(ForwardSequence s) {
  const Blocks blocks;
  const Team team = s.team;
  constexpr int gates = Cell::recurrent_gates;
  const int64_t size = s.step.hidden_size, first_row = int64_t(blockIdx.x / team.blocks) * team.rows;
  const int first_unit = blocks.rank() * team.units, sum_row = team.units + sum_padding;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  Shared shared{shared_memory()};
  const ForwardMemory<Cell, T> memory(shared, team);
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  clear(memory.h, 2 * team.rows * team.row);
  clear(memory.fresh, team.rows * team.units);
  __syncthreads();
  share(rows * int(size), [&](int i) {
    memory.h[i / int(size) * team.row + i % int(size)] = static_cast<const T*>(s.step.h)[first_row * size + i];
  });
  blocks.meet();
  for (int64_t i = 0; i < s.times; ++i) {
    const T* h = memory.h + i % 2 * team.rows * team.row;
    T* next_h = memory.h + (i + 1) % 2 * team.rows * team.row;
    const int steps = (team.row - padding) / 16, pieces = team.units / 16;
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
      store(memory.fresh + e, apply_cell<Cell, T>(p, first_row + row, first_unit + unit, a).v);
    });
    __syncthreads();
    // 16 bytes at a time into the h of every block.
    const int chunks = team.units / 8;
    share(team.blocks * team.rows * chunks, [&](int j) {
      const int chunk = j % chunks, row = j / chunks % team.rows, to = j / chunks / team.rows;
      const int column = first_unit + chunk * 8;
      if (column >= team.row - padding) return;
      *reinterpret_cast<int4*>(blocks.of(next_h, to) + row * team.row + column) =
          *reinterpret_cast<const int4*>(memory.fresh + row * team.units + chunk * 8);
    });
    blocks.meet();
  }
}

template <class Cell, class T>
FASTRNN_DEVICE BackwardStep step_at(const BackwardSequence& s, int64_t t) {
  BackwardStep p = s.step;
  const int64_t size = p.hidden_size, before = s.reverse ? t + 1 : t - 1;
  const void* saved = p.saved;
  const void* y = p.y;
  const bool first = before < 0 || before >= s.times;
  p.saved = after<float>(saved, t * s.batch * p.saved_row);
  p.y = after<T>(y, t * s.batch * p.y_row);
  p.y_before = first ? s.y_before : after<T>(y, before * s.batch * p.y_row);
  p.c_before = first ? s.c_before : after<float>(saved, before * s.batch * p.saved_row + (Cell::saves - 1) * size);
  p.c_before_row = first ? s.c_before_row : p.saved_row;
  p.rows_before = p.y_before ? s.batch : 0, p.c_rows_before = p.c_before ? s.batch : 0;
  p.dy = after<T>(p.dy, t * s.batch * p.dy_row);
  p.d_input = after<T>(p.d_input, t * s.batch * Cell::input_gates * size);
  p.d_recurrent = after<T>(p.d_recurrent, t * s.batch * Cell::recurrent_gates * size);
  p.h_before = after<T>(p.h_before, t * s.batch * size);
  return p;
}

// Each block knows the gates' gradients of its own units, and so a part of dL/dh_{t-1} of all units. It writes to every
// block the part that belongs there; who receives adds them up, always in the same order.
template <class Blocks, class Cell, class T, int tiles>
__global__ void __launch_bounds__(block_threads) run_backward(BackwardSequence s) {
  const Blocks blocks;
  const Team team = s.team;
  constexpr int gates = Cell::recurrent_gates;
  const int64_t size = s.step.hidden_size, first_row = int64_t(blockIdx.x / team.blocks) * team.rows;
  const int first_unit = blocks.rank() * team.units, sum_row = team.units + sum_padding;
  const int units = int(size - first_unit < team.units ? size - first_unit : team.units);
  const int rows = int(s.batch - first_row < team.rows ? s.batch - first_row : team.rows);
  const int dgates_row = gates * team.units + padding, part = team.rows * sum_row;
  Shared shared{shared_memory()};
  const BackwardMemory<Cell, T> memory(shared, team);
  load_weights<Cell>(memory.weights, static_cast<const T*>(s.w_hh), first_unit, team, size);
  clear(memory.dgates, team.rows * dgates_row);
  clear(memory.arrived, 2 * team.blocks * part);
  auto arrived = [&](int64_t step, int row, int unit) {
    Scalar<float> sum{0};
    for (int from = 0; from < team.blocks; ++from)
      sum = sum + Scalar<float>{memory.arrived[(step % 2 * team.blocks + from) * part + row * sum_row + unit]};
    return sum;
  };
  auto each_unit = [&](auto visit) {
    share(team.rows * team.units, [&](int e) {
      if (e % team.units < units && e / team.units < rows) visit(e / team.units, e % team.units);
    });
  };
  blocks.meet();
  for (int64_t i = 0; i < s.times; ++i) {
    const BackwardStep p = step_at<Cell, T>(s, s.reverse ? i : s.times - 1 - i);
    each_unit([&](int row, int unit) {
      Scalar<float> da[Cell::slots] = {};
      const Scalar<float> dh = incoming_dh<T>(p, first_row + row, first_unit + unit) + arrived(i, row, unit);
      apply_cell_backward<Cell, T>(p, first_row + row, first_unit + unit, dh, da);
      each<gates>([&](auto g) {
        constexpr int slot = Cell::recurrent_slots[g];
        store(memory.dgates + row * dgates_row + g * team.units + unit, da[slot].v);
      });
    });
    __syncthreads();
    for (int piece = threadIdx.x / 32; piece < (team.row - padding) / 16; piece += warps) {
      const int to = piece * 16 / team.units, unit = piece * 16 % team.units;
      float* there = blocks.of(memory.arrived, to) + ((i + 1) % 2 * team.blocks + blocks.rank()) * part + unit;
      multiply_tile<1, tiles, true>(memory.weights + piece * 16, team.row, 0, memory.dgates, dgates_row, 0,
                                    gates * team.units, there, sum_row, 0);
    }
    blocks.meet();
  }
  each_unit([&](int row, int unit) {
    const int64_t place = (first_row + row) * size + first_unit + unit;
    write<float>(s.step.dh, place, read<float>(s.step.dh, place) + arrived(s.times, row, unit));
  });
}

template <class Memory>
size_t bytes_needed(const Team& team) {
  Shared shared{nullptr};
  Memory(shared, team);
  return size_t(shared.taken(nullptr));
}

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&value, which, device) != cudaSuccess) return 0;
  return value;
}

// The smallest team that holds the weights, and as few rows each as keep all multiprocessors busy. Not yet measured.
template <class Memory>
Team smallest_team(int64_t size, int64_t batch, Regime regime) {
  const size_t limit = size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  const int processors = attribute(cudaDevAttrMultiProcessorCount);
  if (regime.most_blocks > 1 && attribute(cudaDevAttrComputeCapabilityMajor) < 9) return {};  // has no clusters
  for (int blocks = regime.least_blocks; 0 < blocks && blocks <= regime.most_blocks; blocks *= 2) {
    Team team;
    team.units = int(rounded_up((size + blocks - 1) / blocks, 16));
    team.row = int(rounded_up(size, 16)) + padding;
    team.splits = warps / (team.units / 16) > 1 ? warps / (team.units / 16) : 1;
    team.rows = 8;
    while (team.rows < 32 && (batch + team.rows - 1) / team.rows * blocks > processors) team.rows *= 2;
    for (; team.rows >= 8; team.rows /= 2) {
      team.blocks = blocks;
      team.shared = bytes_needed<Memory>(team);
      if (team.shared <= limit) return team;
    }
  }
  return {};
}

// Calls run<Cell, T>() where there is a kernel for it.
template <class Run>
auto for_kernel(CellKind cell, Number number, Run run) {
  return for_cell(cell, [&]<class Cell>() {
    using Result = decltype(run.template operator()<LSTM, __half>());
    if constexpr (!Cell::gated) {
      if (number == Number::bfloat16) return run.template operator()<Cell, __nv_bfloat16>();
      if (number == Number::float16) return run.template operator()<Cell, __half>();
    }
    return Result{};
  });
}

template <class Sequence>
Launch launch_for(const Sequence& s) {
  const int64_t teams = (s.batch + s.team.rows - 1) / s.team.rows;
  return {dim3(unsigned(teams * s.team.blocks)), block_threads, unsigned(s.team.blocks), s.team.shared};
}

}  // namespace

Team forward_team(CellKind cell, Number number, int64_t hidden_size, int64_t batch, Regime regime) {
  return for_kernel(cell, number, [&]<class Cell, class T>() {
    return smallest_team<ForwardMemory<Cell, T>>(hidden_size, batch, regime);
  });
}

Team backward_team(CellKind cell, Number number, int64_t hidden_size, int64_t batch, Regime regime) {
  return for_kernel(cell, number, [&]<class Cell, class T>() {
    return smallest_team<BackwardMemory<Cell, T>>(hidden_size, batch, regime);
  });
}

cudaError_t forward_sequence(const ForwardSequence& s, cudaStream_t stream) {
  return for_kernel(s.step.cell, s.step.number, [&]<class Cell, class T>() {
    auto run = [&]<class Blocks>(Blocks) {
      auto kernel = s.team.rows == 8    ? run_forward<Blocks, Cell, T, 1>
                    : s.team.rows == 16 ? run_forward<Blocks, Cell, T, 2>
                                        : run_forward<Blocks, Cell, T, 4>;
      return launch(kernel, launch_for(s), stream, s);
    };
    return s.team.blocks == 1 ? run(OneBlock{}) : run(BlockCluster{});
  });
}

cudaError_t backward_sequence(const BackwardSequence& s, cudaStream_t stream) {
  return for_kernel(s.step.cell, s.step.number, [&]<class Cell, class T>() {
    auto run = [&]<class Blocks>(Blocks) {
      auto kernel = s.team.rows == 8    ? run_backward<Blocks, Cell, T, 1>
                    : s.team.rows == 16 ? run_backward<Blocks, Cell, T, 2>
                                        : run_backward<Blocks, Cell, T, 4>;
      return launch(kernel, launch_for(s), stream, s);
    };
    return s.team.blocks == 1 ? run(OneBlock{}) : run(BlockCluster{});
  });
}

}  // namespace fastrnn::cuda
