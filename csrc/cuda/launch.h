// How a kernel is started, and what its threads do together.
#pragma once
#include <cuda_runtime.h>

#ifdef __CUDACC__
#include <cooperative_groups.h>
#else
#include "on_cpu.h"
#endif

namespace fastrnn::cuda {

struct Launch {
  dim3 grid;
  unsigned threads;
  unsigned cluster = 1;  // blocks
  size_t shared = 0;     // bytes of a block's shared memory
};

#ifdef __CUDACC__

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const Launch& shape, cudaStream_t stream,
                   const Parameters&... parameters) {
  constexpr unsigned portable_cluster = 8;
  cudaError_t error = cudaSuccess;
  if (shape.shared)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shape.shared));
  if (!error && shape.cluster > portable_cluster)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (error) return error;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid, config.blockDim = dim3(shape.threads), config.dynamicSmemBytes = shape.shared;
  config.stream = stream, config.attrs = &cluster, config.numAttrs = shape.cluster > 1;
  return cudaLaunchKernelEx(&config, kernel, parameters...);
}

// A block's dynamic shared memory.
__device__ inline char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

// Blocks that work together: one alone, or a cluster, whose blocks write into each other's shared memory.
struct OneBlock {
  __device__ int rank() const { return 0; }
  __device__ int size() const { return 1; }
  __device__ void meet() const { __syncthreads(); }
  template <class T>
  __device__ T* of(T* mine, int) const {
    return mine;
  }
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
struct BlockCluster {
  __device__ int rank() const { return int(cooperative_groups::this_cluster().block_rank()); }
  __device__ int size() const { return int(cooperative_groups::this_cluster().num_blocks()); }
  __device__ void meet() const { cooperative_groups::this_cluster().sync(); }
  template <class T>
  __device__ T* of(T* mine, int rank) const {
    return cooperative_groups::this_cluster().map_shared_rank(mine, rank);
  }
};
#else
struct BlockCluster : OneBlock {};  // never launched there
#endif

#else

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const Launch& shape, cudaStream_t, const Parameters&... parameters) {
  return run_on_cpu(kernel, shape.grid, shape.threads, shape.cluster, shape.shared, parameters...);
}

inline char* aligned(std::vector<char>& memory) {
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
}
inline char* shared_memory() { return aligned(on_cpu::my_block().shared); }

struct BlockCluster {
  int rank() const { return int(on_cpu::running->block.x % on_cpu::blocks.size()); }
  int size() const { return int(on_cpu::blocks.size()); }
  void meet() const { on_cpu::wait(on_cpu::cluster, on_cpu::running->times_at_cluster); }
  template <class T>
  T* of(T* mine, int rank) const {
    const char* place = reinterpret_cast<const char*>(mine);
    return reinterpret_cast<T*>(aligned(on_cpu::blocks[rank].shared) + (place - shared_memory()));
  }
};
using OneBlock = BlockCluster;

#endif

}  // namespace fastrnn::cuda
