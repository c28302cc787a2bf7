// CUDA's threads on a CPU, for tests where no GPU is (tests/cuda_on_cpu.cpp): included where a plain C++ compiler reads
// the kernels. Every thread of a cluster is a fiber with a stack of its own; a fiber runs until it waits at a barrier.
// This shows what the kernels compute, not whether they would race.
#pragma once
#include <cuda_runtime.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#define __launch_bounds__(...)

namespace fastrnn::cuda {

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace on_cpu {

// What runs the clusters. Its multiprocessors are in groups that no cluster leaves, as on a GPU.
struct Device {
  std::vector<int64_t> groups = {18, 6};
  int64_t multiprocessors() const { return std::accumulate(groups.begin(), groups.end(), int64_t(0)); }
  int64_t most_at_once(unsigned cluster) const {
    int64_t count = 0;
    for (int64_t group : groups) count += group / cluster;
    return count;
  }
};
inline Device device;
inline cudaError_t last_error = cudaSuccess, next_launch = cudaSuccess;

inline cudaError_t failed(cudaError_t error) { return last_error = error; }

struct Barrier {
  int64_t arrived = 0, members;
};

struct Block {
  std::vector<char> shared;
  Barrier barrier;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  dim3 block, thread;
  int64_t times_at_block = 0, times_at_cluster = 0;
  bool done = false;
};

inline std::vector<Block> blocks;  // of the cluster that runs
inline Barrier cluster;
inline ucontext_t scheduler;
inline Fiber* running;
inline const std::function<void()>* body;
inline int64_t clusters_run = 0;

inline void wait(Barrier& barrier, int64_t& times) {
  ++times, ++barrier.arrived;
  while (barrier.arrived < times * barrier.members) swapcontext(&running->context, &scheduler);
}

inline Block& my_block() { return blocks[running->block.x % blocks.size()]; }

inline void run_cluster(unsigned first_block, unsigned size, unsigned threads, size_t shared) {
  constexpr size_t stack_bytes = 128 << 10;
  ++clusters_run;
  blocks.clear();
  for (unsigned b = 0; b < size; ++b) blocks.push_back({std::vector<char>(shared + 16), {0, threads}});
  cluster = {0, int64_t(size) * threads};
  std::vector<Fiber> fibers(size * threads);
  for (unsigned i = 0; i < fibers.size(); ++i) {
    Fiber& f = fibers[i];
    f.block = dim3(first_block + i / threads), f.thread = dim3(i % threads);
    f.stack.reset(new char[stack_bytes]);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get(), f.context.uc_stack.ss_size = stack_bytes;
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

}  // namespace on_cpu

inline void __syncthreads() { on_cpu::wait(on_cpu::my_block().barrier, on_cpu::running->times_at_block); }

template <class... Parameters>
cudaError_t run_on_cpu(void (*kernel)(Parameters...), const cudaLaunchConfig_t& config,
                       const Parameters&... parameters) {
  if (on_cpu::next_launch) return on_cpu::failed(std::exchange(on_cpu::next_launch, cudaSuccess));
  const dim3 grid = config.gridDim;
  const unsigned threads = config.blockDim.x;
  const size_t shared = config.dynamicSmemBytes;
  unsigned cluster = 1;  // blocks that run together
  if (config.numAttrs)
    cluster = config.attrs->id == cudaLaunchAttributeCooperative ? grid.x : config.attrs->val.clusterDim.x;
  gridDim = grid, blockDim = dim3(threads);
  const std::function<void()> body = [&] { kernel(parameters...); };
  on_cpu::body = &body;
  if (shared > 0) {
    for (unsigned b = 0; b < grid.x; b += cluster) on_cpu::run_cluster(b, cluster, threads, shared);
    return cudaSuccess;
  }
  // Threads that never meet need no fibers.
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
      for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) body();
  return cudaSuccess;
}

}  // namespace fastrnn::cuda
