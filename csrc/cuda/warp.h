// The 32 threads of a warp, which tell each other numbers without shared memory.
#pragma once
#include <cuda_runtime.h>

namespace fastrnn::cuda {

// The sum of their x, the same bits in each. All threads of the block call it.
template <class A>
__device__ inline A warp_sum(A x) {
  for (int apart = 16; apart > 0; apart /= 2) x += __shfl_xor_sync(0xffffffff, x, apart);
  return x;
}

}  // namespace fastrnn::cuda
