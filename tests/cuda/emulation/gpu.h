// A GPU on the CPU: what csrc/cuda/hardware.h asks for. Every thread of a cluster is a fiber with a stack of its own,
// and runs until it waits at a barrier. This shows what kernels compute, not whether they would race.
#pragma once
#include <cuda_runtime.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "../../../csrc/cuda/number.h"

#define __launch_bounds__(...)

namespace fastrnn::cuda {

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulated {

// Its multiprocessors are in groups that no cluster leaves, as on a GPU.
struct Device {
  std::vector<int64_t> groups = {18, 6};
  int number = 0;  // other multiprocessors, another device
  int64_t multiprocessors() const { return std::accumulate(groups.begin(), groups.end(), int64_t(0)); }
  int64_t clusters_at_once(unsigned cluster) const {
    int64_t count = 0;
    for (int64_t group : groups) count += group / cluster;
    return count;
  }
};
inline Device device;
inline thread_local bool has_context = false;  // as every thread, until it names its device
inline bool captured = false;                  // a stream is: no device can be named then
inline cudaError_t last_error = cudaSuccess, next_launch = cudaSuccess;

inline bool next_product_fails = false;

inline cudaError_t failed(cudaError_t error) { return last_error = error; }

// Calls of CUDA and cuBLAS so far.
struct Calls {
  int64_t launches = 0, sequences = 0, products = 0, copies = 0, attributes = 0, others = 0, without_context = 0;
};
inline Calls calls;

// A parameter of the persistent kernels, which take a team of blocks through all steps.
template <class Parameter>
constexpr bool whole_sequence = requires(Parameter p) { p.team; };

struct Barrier {
  int64_t arrived = 0, members;
};

struct Block {
  std::vector<char> shared;
  Barrier barrier;
  std::vector<double> exchanged;  // a number of each thread
};

struct Fiber {
  ucontext_t context;
  dim3 block, thread;
  int64_t times_at_block = 0, times_at_cluster = 0;
  bool done = false;
};

inline std::vector<Block> blocks;  // of the cluster that runs
inline Barrier cluster;
inline ucontext_t scheduler;
inline Fiber* running;
inline const std::function<void()>* body;

inline void wait(Barrier& barrier, int64_t& times) {
  ++times, ++barrier.arrived;
  while (barrier.arrived < times * barrier.members) swapcontext(&running->context, &scheduler);
}

inline Block& my_block() { return blocks[running->block.x % blocks.size()]; }

inline char* aligned(std::vector<char>& memory) {
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
}

inline char* stack_of(size_t fiber, size_t bytes) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= fiber) stacks.emplace_back(new char[bytes]);
  return stacks[fiber].get();
}

inline void run_cluster(dim3 first_block, unsigned size, unsigned threads, size_t shared) {
  constexpr size_t stack_bytes = 128 << 10;
  blocks.clear();
  for (unsigned b = 0; b < size; ++b)
    blocks.push_back({std::vector<char>(shared + 16), {0, threads}, std::vector<double>(threads)});
  cluster = {0, int64_t(size) * threads};
  std::vector<Fiber> fibers(size * threads);
  for (unsigned i = 0; i < fibers.size(); ++i) {
    Fiber& f = fibers[i];
    f.block = dim3(first_block.x + i / threads, first_block.y), f.thread = dim3(i % threads);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = stack_of(i, stack_bytes), f.context.uc_stack.ss_size = stack_bytes;
    f.context.uc_link = &scheduler;
    makecontext(&f.context, +[] { (*body)(), running->done = true; }, 0);
  }
  for (size_t left = fibers.size(); left > 0;) {
    left = 0;
    for (Fiber& f : fibers) {
      if (f.done) continue;
      running = &f, blockIdx = f.block, threadIdx = f.thread;
      swapcontext(&scheduler, &f.context);
      left += !f.done;
    }
  }
}

}  // namespace emulated

template <class... Parameters>
cudaError_t start(const cudaLaunchConfig_t& config, void (*kernel)(Parameters...), const Parameters&... parameters) {
  ++emulated::calls.launches, emulated::calls.sequences += (emulated::whole_sequence<Parameters> || ...);
  if (emulated::next_launch) return emulated::failed(std::exchange(emulated::next_launch, cudaSuccess));
  const dim3 grid = config.gridDim;
  const unsigned threads = config.blockDim.x;
  const size_t shared = config.dynamicSmemBytes;
  unsigned cluster = 1;  // blocks that run together
  if (config.numAttrs)
    cluster = config.attrs->id == cudaLaunchAttributeCooperative ? grid.x : config.attrs->val.clusterDim.x;
  gridDim = grid, blockDim = dim3(threads);
  const std::function<void()> body = [&] { kernel(parameters...); };
  emulated::body = &body;
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; x += cluster)
      if (shared > 0) {
        emulated::run_cluster(dim3(x, y), cluster, threads, shared);
      } else {  // threads that never wait for each other need no fibers
        blockIdx = dim3(x, y);
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) body();
      }
  return cudaSuccess;
}

inline void __syncthreads() { emulated::wait(emulated::my_block().barrier, emulated::running->times_at_block); }
inline char* shared_memory() { return emulated::aligned(emulated::my_block().shared); }

// As csrc/cuda/warp.h has it: pairs, then pairs of pairs, so that rounding is the same.
template <class A>
A warp_sum(A x) {
  std::vector<double>& exchanged = emulated::my_block().exchanged;
  const unsigned thread = threadIdx.x;
  for (unsigned apart = 16; apart > 0; apart /= 2) {
    exchanged[thread] = x;
    __syncthreads();
    x += A(exchanged[thread ^ apart]);
    __syncthreads();
  }
  return x;
}

struct BlockCluster {
  static constexpr bool share_memory = true;
  BlockCluster(int, unsigned*, uint64_t*) {}
  int rank() const { return int(emulated::running->block.x % emulated::blocks.size()); }
  void sync() const { emulated::wait(emulated::cluster, emulated::running->times_at_cluster); }
  void send(void* mine, int rank, int4 value) const {
    const char* place = static_cast<const char*>(mine);
    *reinterpret_cast<int4*>(emulated::aligned(emulated::blocks[rank].shared) + (place - shared_memory())) = value;
  }
  void receive(int) const { sync(); }
};
using OneBlock = BlockCluster;

struct BlocksOfGrid {
  static constexpr bool share_memory = false;
  const int blocks;
  BlocksOfGrid(int blocks, unsigned*, uint64_t*) : blocks(blocks) {}
  int rank() const { return int(emulated::running->block.x) % blocks; }
  void sync() const { emulated::wait(emulated::cluster, emulated::running->times_at_cluster); }
};

template <class T>
T load_remote(const T* from) {
  return *from;
}

inline void fetch(float* to, const float* from) { *to = *from; }
inline void wait_for_fetched() {}

// The matrix units, as csrc/cuda/tile.h has them: each thread computes what would be its lane's.
template <int count, int tiles>
struct TileSums {
  float of[count][tiles][4] = {};
};
inline int tile_row(int tile, int j) { return tile * 8 + threadIdx.x % 4 * 2 + j % 2; }
inline int tile_column(int j) { return threadIdx.x % 32 / 4 + j / 2 * 8; }

template <int count, int tiles, bool transposed, class T>
TileSums<count, tiles> multiply_tile(const T* a, int a_row, int a_next, const T* b, int b_row, int begin, int end) {
  TileSums<count, tiles> sums;
  for (int g = 0; g < count; ++g)
    for (int i = 0; i < tiles; ++i)
      for (int j = 0; j < 4; ++j) {
        const int m = tile_column(j);
        const T* row = b + tile_row(i, j) * b_row;
        for (int k = begin; k < end; ++k)
          sums.of[g][i][j] += widened(a[g * a_next + (transposed ? k * a_row + m : m * a_row + k)]) * widened(row[k]);
      }
  return sums;
}

template <int count, int steps, bool transposed, class T>
class ResidentTile {
 public:
  static constexpr int most_depth = steps * (32 / sizeof(T));
  void load(const T* a, int a_row, int a_next, int begin, int end) {
    this->a = a, this->a_row = a_row, this->a_next = a_next, this->begin = begin, this->end = end;
  }
  template <int tiles>
  TileSums<count, tiles> multiply(const T* b, int b_row) const {
    return multiply_tile<count, tiles, transposed>(a, a_row, a_next, b, b_row, begin, end);
  }

 private:
  const T* a = nullptr;
  int a_row, a_next, begin, end;
};

}  // namespace fastrnn::cuda
