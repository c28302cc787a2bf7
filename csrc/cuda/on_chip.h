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
// float32 that is read column by column; and for the sums as multiply_tile() writes them.
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

// What a block tells another in a step of the backward pass.
FASTRNN_DEVICE int part_size(const Team& team) { return team.rows * (team.units + sum_padding); }

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
    store_operand(weights + i, unit < size && k < size ? widened(w_hh[(gate * size + unit) * size + k]) : 0);
  });
}

// A pointer moved on by rows of a matrix.
template <class T, class Pointer>
FASTRNN_DEVICE Pointer after(Pointer p, int64_t numbers) {
  return p ? Pointer(reinterpret_cast<intptr_t>(p) + numbers * int64_t(sizeof(T))) : p;
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

// The smallest team that holds the weights, of as few rows as let all teams run at once, or else of as many as fit. The
// blocks of a grid wait for each other, so they must run at once. Not yet measured.
template <class Memory, class Kernel>
Team smallest_team(int64_t size, int64_t batch, Regime regime, int device, Kernel kernel_for) {
  const size_t most_shared = size_t(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  const int most_blocks = std::min(regime.most_blocks, attribute(cudaDevAttrMultiProcessorCount, device));
  const bool clusters = regime.most_blocks > 1 && !regime.grid;
  if (clusters && attribute(cudaDevAttrComputeCapabilityMajor, device) < 9) return {};
  for (int blocks = regime.least_blocks; 0 < blocks && blocks <= most_blocks; blocks += regime.grid ? 1 : blocks) {
    Team largest;
    for (int rows : {8, 16, 32}) {
      const Team team = laid_out<Memory>(size, batch, blocks, rows, regime.grid);
      if (team.shared > most_shared) break;
      const Launch launch = launch_for(team, batch);
      const int64_t at_once = most_at_once(reinterpret_cast<const void*>(kernel_for(team)), launch);
      if (launch.grid.x / launch.cluster <= at_once) return team;
      if (!regime.grid && at_once > 0) largest = team;
    }
    if (largest.blocks) return largest;
  }
  return {};
}

// What was found for a layer's sizes is kept: to ask the driver takes longer than a step.
template <class Memory, class Kernel>
Team team_of(int64_t size, int64_t batch, Regime regime, Kernel kernel_for) {
  static std::mutex mutex;
  static std::map<std::tuple<int64_t, int64_t, int, int, bool, int>, Team> found;
  int device = 0;
  if (!regime.most_blocks || cudaGetDevice(&device) != cudaSuccess) return {};
  const std::lock_guard lock(mutex);
  const std::tuple key(size, batch, regime.least_blocks, regime.most_blocks, regime.grid, device);
  const auto known = found.find(key);
  if (known != found.end()) return known->second;
  return found[key] = smallest_team<Memory>(size, batch, regime, device, kernel_for);
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
