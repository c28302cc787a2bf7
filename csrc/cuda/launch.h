// How a kernel is started. Compiled by a plain C++ compiler the same kernels run one thread after the other: that is
// how they are tested where no GPU is (tests/cuda_on_cpu.cpp). It serves kernels whose threads do not meet.
#pragma once
#include <cuda_runtime.h>

namespace fastrnn::cuda {

#ifdef __CUDACC__

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, cudaStream_t stream,
                   const Parameters&... parameters) {
  kernel<<<grid, threads, 0, stream>>>(parameters...);
  return cudaGetLastError();
}

#else

#define __launch_bounds__(threads)

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, cudaStream_t,
                   const Parameters&... parameters) {
  gridDim = grid, blockDim = dim3(threads);
  for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
      for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel(parameters...);
  return cudaSuccess;
}

#endif

}  // namespace fastrnn::cuda
