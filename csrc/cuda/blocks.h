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
  __device__ OneBlock(int, unsigned*, uint64_t*) {}
  __device__ int rank() const { return 0; }
  __device__ void sync() { __syncthreads(); }
  __device__ void send(void* mine, int, int4 value) const { *static_cast<int4*>(mine) = value; }
  __device__ void receive(int) { __syncthreads(); }
};

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
// A block writes what it sends into the other's shared memory, where two barriers take turns to count the bytes. So a
// block waits only for the data. On an H100 st.async there and back takes 0.28 us; a barrier of the whole cluster takes
// 0.43 to 0.53, because it also waits for all writes to global memory (bench/gpu/preflight.cu).
class BlockCluster {
 public:
  static constexpr bool share_memory = true;
  __device__ BlockCluster(int, unsigned*, uint64_t* arrivals) : arrivals(shared_address(arrivals)) {
    if (threadIdx.x > 0) return;
    for (int i : {0, 1}) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier(i)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __device__ int rank() const { return int(cooperative_groups::this_cluster().block_rank()); }
  __device__ void sync() { cooperative_groups::this_cluster().sync(); }
  // Stores 16 bytes where `mine` is in the memory of block `rank`.
  __device__ void send(void* mine, int rank, int4 v) const {
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
            of_block(shared_address(mine), rank)),
        "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(of_block(barrier(received), rank))
        : "memory");
  }
  // Waits until that many bytes have arrived since the last call. All threads of a block call it.
  __device__ void receive(int bytes) {
    const uint32_t at = barrier(received);
    if (threadIdx.x == 0)
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
    unsigned done;
    do
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                   : "=r"(done)
                   : "r"(at), "r"(received / 2 % 2)
                   : "memory");
    while (!done);
    ++received;
  }

 private:
  __device__ static uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }
  __device__ static uint32_t of_block(uint32_t mine, int rank) {
    uint32_t theirs;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(theirs) : "r"(mine), "r"(rank));
    return theirs;
  }
  __device__ uint32_t barrier(unsigned n) const { return arrivals + n % 2 * 8; }

  const uint32_t arrivals;  // two barriers in shared memory
  unsigned received = 0;
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
  __device__ BlocksOfGrid(int blocks, unsigned* flags, uint64_t*)
      : blocks(blocks), flags(flags + blockIdx.x / blocks * blocks) {}
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

// Brings a number into shared memory while this thread goes on; it alone may read it, after wait_for_fetched().
__device__ inline void fetch(float* to, const float* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(uint32_t(__cvta_generic_to_shared(to))), "l"(from)
               : "memory");
}
__device__ inline void wait_for_fetched() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace fastrnn::cuda
