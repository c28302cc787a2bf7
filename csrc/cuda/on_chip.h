// What the persistent kernels have in common: how shared memory is laid out and filled, how large a team must be.
#pragma once
#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "../cells/registry.h"
#include "cell_step.h"
#include "launch.h"
#include "persistent.h"

namespace fastrnn::cuda {
namespace {

constexpr int block_threads = 256, warps = block_threads / 32;
// Of a row in shared memory, so that what a warp reads or writes at once lies in different banks: 16 bytes, except for
// float32 that is read column by column; and for the forward sums.
template <class T, bool by_column>
constexpr int padding = by_column && sizeof(T) == 4 ? 8 : 16 / sizeof(T);
constexpr int sum_padding = 4;

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

// What a block tells another in a step of the backward pass: numbers in the order in which lanes have them.
FASTRNN_DEVICE int part_size(const Team& team) { return team.rows * team.units; }

// How many blocks of a team have units: the last ones may have none.
FASTRNN_DEVICE int blocks_with_units(const Team& team, int pad) {
  return (team.row - pad + team.units - 1) / team.units;
}

// visit(i) for i = this thread's share of 0 … count-1.
template <class Visit>
FASTRNN_DEVICE void share(int count, Visit visit) {
  for (int i = threadIdx.x; i < count; i += block_threads) visit(i);
}

// A thread's share of the places of a matrix with `columns` columns, found without a division in the loop over time.
class Places {
 public:
  FASTRNN_DEVICE Places(int first, int stride, int count, int columns)
      : first(first), stride(stride), count(count), columns(columns), row(first / columns), column(first % columns),
        rows_on(stride / columns), columns_on(stride % columns) {}
  // visit(place, row, column)
  template <class Visit>
  FASTRNN_DEVICE void each(Visit visit) const {
    int r = row, c = column;
    for (int place = first; place < count; place += stride) {
      visit(place, r, c);
      r += rows_on, c += columns_on;
      if (c >= columns) c -= columns, ++r;
    }
  }

 private:
  int first, stride, count, columns, row, column, rows_on, columns_on;
};

template <class T>
FASTRNN_DEVICE void clear(T* numbers, int count) {
  share(count, [=](int i) { numbers[i] = T{}; });
}

// The rows of W_hh that belong to units [first, first + units), zero beyond what exists.
template <class Cell, class T>
FASTRNN_DEVICE void load_weights(T* weights, const T* w_hh, int first, const Team& team, int64_t size) {
  share(Cell::recurrent_gates * team.units * team.row, [=](int i) {
    const int k = i % team.row, unit = first + i / team.row % team.units, gate = i / team.row / team.units;
    store_operand(weights + i, unit < size && k < size ? widened(w_hh[(gate * size + unit) * size + k]) : 0);
  });
}

template <class Memory>
size_t bytes_needed(const Team& team) {
  Shared shared{nullptr};
  Memory(shared, team);
  return size_t(shared.taken(nullptr));
}

Launch launch_for(const Team& team, int64_t batch) {
  const int64_t teams = (batch + team.rows - 1) / team.rows;
  const bool grid = team.exchanged > 0;
  return {dim3(unsigned(teams * team.blocks)), block_threads, grid ? 1 : unsigned(team.blocks), team.shared, grid};
}

template <class Memory>
Team laid_out(int64_t size, int64_t batch, int blocks, int rows, bool grid) {
  Team team;
  team.blocks = blocks, team.rows = rows;
  team.units = int(rounded_up((size + blocks - 1) / blocks, 16));
  team.row = int(rounded_up(size, 16)) + Memory::pad;
  team.splits = warps / (team.units / 16) > 1 ? warps / (team.units / 16) : 1;
  if (grid) Memory::exchange(team, (batch + rows - 1) / rows);
  team.shared = bytes_needed<Memory>(team);
  return team;
}

// Teams for a layer on a device.
template <class Memory, class Kernel>
class Teams {
 public:
  Teams(int64_t size, int64_t batch, int device, Kernel kernel_for)
      : size(size), batch(batch), device(device), kernel_for(kernel_for),
        most_shared(size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device))) {}

  Team find(const Regime& regime) const {
    const int major = attribute(cudaDevAttrComputeCapabilityMajor, device);
    if (regime.grid) return of_grid(regime);
    if (regime.fastest && major != 9) return {};  // where it has not been measured
    if (regime.most_blocks > 1 && major < 9) return {};
    const Team team = at_once(regime);
    if (team.blocks) return team;
    return regime.fastest ? of_grid(whole_grid) : in_turns(regime);
  }

 private:
  // Clusters that all run at the same time: first of few rows, then of many blocks, since time is short and blocks are
  // not. LSTM in bfloat16, H 256, B 32 on an H200, forward and both passes of 320 steps, ms: 16 blocks of 8 rows 0.92
  // and 1.81, 8 blocks 0.87 and 1.99, 4 blocks 0.99 and 2.71.
  Team at_once(const Regime& regime) const {
    for (int rows : {8, 16, 32})
      for (int blocks = regime.most_blocks; blocks >= regime.least_blocks; blocks /= 2) {
        const Team team = laid_out<Memory>(size, batch, blocks, rows, false);
        const bool idle = blocks_with_units(team, Memory::pad) < blocks && blocks > regime.least_blocks;
        if (!idle && team.shared <= most_shared && all_run(team)) return team;
      }
    return {};
  }
  // The fewest blocks that hold the weights, of as many rows as fit.
  Team in_turns(const Regime& regime) const {
    for (int blocks = regime.least_blocks; blocks <= regime.most_blocks; blocks *= 2)
      for (int rows : {32, 16, 8}) {
        const Team team = laid_out<Memory>(size, batch, blocks, rows, false);
        if (team.shared <= most_shared && run_at_once(team) > 0) return team;
      }
    return {};
  }
  // The blocks of a grid wait for each other, so they must all run at once.
  Team of_grid(const Regime& regime) const {
    const int most = std::min(regime.most_blocks, attribute(cudaDevAttrMultiProcessorCount, device));
    for (int blocks = regime.least_blocks; blocks <= most; ++blocks)
      for (int rows : {8, 16, 32}) {
        const Team team = laid_out<Memory>(size, batch, blocks, rows, true);
        if (team.shared <= most_shared && all_run(team)) return team;
      }
    return {};
  }

  int64_t run_at_once(const Team& team) const {
    return most_at_once(reinterpret_cast<const void*>(kernel_for(team)), launch_for(team, batch));
  }
  bool all_run(const Team& team) const {
    const Launch launch = launch_for(team, batch);
    return launch.grid.x / launch.cluster <= run_at_once(team);
  }

  const int64_t size, batch;
  const int device;
  const Kernel kernel_for;
  const size_t most_shared;
};

// What was found for a layer's sizes is kept: to ask the driver takes longer than a step.
template <class Memory, class Kernel>
Team team_of(int64_t size, int64_t batch, Regime regime, Kernel kernel_for) {
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, int, int, bool, bool, int>, Team> found;
  int device = 0;
  if (!regime.most_blocks || cudaGetDevice(&device) != cudaSuccess) return {};
  const std::lock_guard lock(mutex);
  const std::tuple key(size, batch, regime.least_blocks, regime.most_blocks, regime.grid, regime.fastest, device);
  const auto known = found.find(key);
  if (known != found.end()) return known->second;
  return found[key] = Teams<Memory, Kernel>(size, batch, device, kernel_for).find(regime);
}

// Calls run<Cell, T>(), or returns `otherwise` where no kernel is compiled for that.
template <class Result, class Run>
Result for_kernel(const CellDescription& cell, Number number, Result otherwise, Run run) {
  if (cell.normalized) return otherwise;
  return for_cell(PlainCells{}, cell, [&]<class Cell>() {
    if constexpr (!Cell::gated) {
      if (number == Number::bfloat16) return run.template operator()<Cell, __nv_bfloat16>();
      if (number == Number::float16) return run.template operator()<Cell, __half>();
      if (number == Number::float32) return run.template operator()<Cell, float>();
    }
    return otherwise;
  });
}

}  // namespace
}  // namespace fastrnn::cuda
