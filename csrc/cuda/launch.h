// How a kernel is started.
#pragma once
#include <cuda_runtime.h>

#ifndef __CUDACC__
#include "on_cpu.h"
#endif

namespace fastrnn::cuda {

struct Launch {
  dim3 grid;
  unsigned threads;
  unsigned cluster = 1;   // blocks
  size_t shared = 0;      // bytes of a block's shared memory
  bool together = false;  // all blocks run at the same time, or it is an error
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
  cudaLaunchAttribute attribute{};
  if (shape.together) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  } else {
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {shape.cluster, 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid, config.blockDim = dim3(shape.threads), config.dynamicSmemBytes = shape.shared;
  config.stream = stream, config.attrs = &attribute;
  config.numAttrs = shape.together || shape.cluster > 1;
  return cudaLaunchKernelEx(&config, kernel, parameters...);
}

// A block's dynamic shared memory.
__device__ inline char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

#else

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const Launch& shape, cudaStream_t, const Parameters&... parameters) {
  const unsigned cluster = shape.together ? shape.grid.x : shape.cluster;
  return run_on_cpu(kernel, shape.grid, shape.threads, cluster, shape.shared, parameters...);
}

inline char* aligned(std::vector<char>& memory) {
  return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
}
inline char* shared_memory() { return aligned(on_cpu::my_block().shared); }

#endif

}  // namespace fastrnn::cuda
