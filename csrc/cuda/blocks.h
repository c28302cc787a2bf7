// How kernels start, and blocks that work together on some rows of the batch: one alone, a cluster, whose blocks write
// into each other's shared memory, or any number that run at the same time and exchange through global memory.
#pragma once
#include <cooperative_groups.h>
#include <cuda_runtime.h>

namespace fastrnn::cuda {

template <class... Parameters>
cudaError_t start(const cudaLaunchConfig_t& config, void (*kernel)(Parameters...), const Parameters&... parameters) {
  return cudaLaunchKernelEx(&config, kernel, parameters...);
}

// A block's dynamic shared memory.
__device__ inline char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

struct OneBlock {
  static constexpr bool share_memory = true;
  __device__ OneBlock(int, unsigned*) {}
  __device__ int rank() const { return 0; }
  __device__ void sync() { __syncthreads(); }
  template <class T>
  __device__ T* of(T* mine, int) const {
    return mine;
  }
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
struct BlockCluster {
  static constexpr bool share_memory = true;
  __device__ BlockCluster(int, unsigned*) {}
  __device__ int rank() const { return int(cooperative_groups::this_cluster().block_rank()); }
  __device__ void sync() { cooperative_groups::this_cluster().sync(); }
  template <class T>
  __device__ T* of(T* mine, int rank) const {
    return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
  }
};
#else
struct BlockCluster : OneBlock {  // never launched there
  using OneBlock::OneBlock;
};
#endif

// Every block raises a flag of its own when it has written what the others wait for: first what it wrote is made
// visible, then the flag. Nobody waits for blocks of other teams.
class BlocksOfGrid {
 public:
  static constexpr bool share_memory = false;
  __device__ BlocksOfGrid(int blocks, unsigned* flags) : blocks(blocks), flags(flags + blockIdx.x / blocks * blocks) {}
  __device__ int rank() const { return int(blockIdx.x) % blocks; }
  __device__ void sync() {
    ++syncs;
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(flags + rank()), "r"(syncs) : "memory");
    }
    for (int other = threadIdx.x; other < blocks; other += blockDim.x) {
      unsigned seen;
      do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(flags + other) : "memory");
      while (seen < syncs);
    }
    __syncthreads();
  }

 private:
  const int blocks;
  unsigned* const flags;
  unsigned syncs = 0;
};

// What another block has written: never from this multiprocessor's own cache, which may hold what was there before.
template <class T>
__device__ inline T load_remote(const T* from) {
  return __ldcg(from);
}

}  // namespace fastrnn::cuda
