// What the design of the persistent kernels rests on, measured alone: how many clusters run at once, and how long
// blocks take to tell each other something. A line of JSON for each.
//
//   nvcc -O3 -std=c++17 -arch=native bench/gpu/preflight.cu -o preflight && ./preflight
//
// Every wait has an end, so that nothing hangs: what failed to come is reported as "late".
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include <stdio.h>

namespace {

constexpr int threads = 256, rounds = 2000, most_polls = 1 << 22, most_blocks = 256;

struct Found {
  unsigned long long cycles, nanoseconds;
  unsigned late;  // 1 if something did not come
};

__device__ unsigned long long now() {
  unsigned long long t;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t));
  return t;
}

// Runs body(round) and leaves how long all rounds took; one thread of the grid reports.
template <class Body>
__device__ void timed(Found* found, bool reports, Body body) {
  const unsigned long long start = clock64(), start_time = now();
  for (int round = 1; round <= rounds; ++round) body(round);
  if (reports) found->cycles = clock64() - start, found->nanoseconds = now() - start_time;
}

__global__ void __launch_bounds__(threads, 1) empty_cluster() {}

template <bool release>
__global__ void __launch_bounds__(threads, 1) cluster_barrier(Found* found, unsigned*) {
#if __CUDA_ARCH__ >= 900
  timed(found, blockIdx.x == 0 && threadIdx.x == 0, [](int) {
    if (release)
      asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
    else
      asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
  });
#endif
}

// Two blocks of a cluster: a word there by st.async, whose arrival the mbarrier beside it counts, and one back.
__global__ void __launch_bounds__(threads, 1) async_round_trip(Found* found, unsigned*) {
#if __CUDA_ARCH__ >= 900
  __shared__ alignas(8) uint64_t barrier;
  __shared__ uint32_t word;
  auto cluster = cooperative_groups::this_cluster();
  const uint32_t mine = uint32_t(__cvta_generic_to_shared(&barrier));
  const uint32_t my_word = uint32_t(__cvta_generic_to_shared(&word));
  if (threadIdx.x == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(mine) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  cluster.sync();
  const unsigned rank = cluster.block_rank();
  if (threadIdx.x == 0) {
    uint32_t their_barrier, their_word;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(their_barrier) : "r"(mine), "r"(rank ^ 1));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(their_word) : "r"(my_word), "r"(rank ^ 1));
    bool late = false;
    auto send = [&](int round) {
      asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%0], %1, [%2];" ::"r"(their_word),
                   "r"(round), "r"(their_barrier)
                   : "memory");
    };
    auto receive = [&](int round) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 4;" ::"r"(mine) : "memory");
      unsigned done = 0;
      for (int poll = 0; !done && poll < most_polls; ++poll)
        asm volatile(
            "{\n.reg .pred p;\nmbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
            : "=r"(done)
            : "r"(mine), "r"((round - 1) & 1)
            : "memory");
      late |= !done;
    };
    timed(found, rank == 0, [&](int round) {
      if (late) return;
      if (rank == 0)
        send(round), receive(round);
      else
        receive(round), send(round);
    });
    if (late) found->late = 1;
  }
  cluster.sync();
#endif
}

// Two blocks that share no memory: a flag there through the second-level cache, and one back.
template <bool acquire_each_poll>
__global__ void __launch_bounds__(threads, 1) flag_round_trip(Found* found, unsigned* flags) {
  if (threadIdx.x) return;
  bool late = false;
  unsigned *mine = flags + blockIdx.x * 64, *theirs = flags + (blockIdx.x ^ 1) * 64;
  auto send = [&](unsigned round) {
    asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(theirs), "r"(round) : "memory");
  };
  auto receive = [&](unsigned round) {
    unsigned seen = 0;
    for (int poll = 0; seen < round && poll < most_polls; ++poll) {
      if (acquire_each_poll)
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(mine) : "memory");
      else
        asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(mine) : "memory");
    }
    if (!acquire_each_poll) asm volatile("fence.acq_rel.gpu;" ::: "memory");
    late |= seen < round;
  };
  timed(found, blockIdx.x == 0, [&](int round) {
    if (late) return;
    if (blockIdx.x == 0)
      send(round), receive(round);
    else
      receive(round), send(round);
  });
  if (late) found->late = 1;
}

// A store of every thread, then what makes it visible to the whole GPU.
__global__ void __launch_bounds__(threads, 1) fence_after_stores(Found* found, unsigned* words) {
  timed(found, blockIdx.x == 0 && threadIdx.x == 0, [&](int round) {
    words[blockIdx.x % most_blocks * threads + threadIdx.x] = unsigned(round);
    __threadfence();
    __syncthreads();
  });
}

cudaError_t start(void (*kernel)(Found*, unsigned*), unsigned blocks, unsigned cluster, Found* found, unsigned* words) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension, attribute.val.clusterDim = {cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(blocks), config.blockDim = dim3(threads);
  config.attrs = &attribute, config.numAttrs = cluster > 1;
  return cudaLaunchKernelEx(&config, kernel, found, words);
}

// Twice, since the first time loads the kernel. The words it is given, if any, are zeros each time.
void report(const char* what, unsigned blocks, unsigned cluster, void (*kernel)(Found*, unsigned*)) {
  constexpr size_t bytes = most_blocks * threads * sizeof(unsigned);
  static Found* found = nullptr;
  static unsigned* words = nullptr;
  Found result{};
  cudaError_t error = found ? cudaSuccess : cudaMalloc(&found, sizeof(Found));
  if (!error && !words) error = cudaMalloc(&words, bytes);
  if (!error && cluster > 8) error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  for (int i = 0; i < 2 && !error; ++i) {
    cudaMemset(found, 0, sizeof(Found)), cudaMemset(words, 0, bytes);
    error = start(kernel, blocks, cluster, found, words);
    if (!error) error = cudaMemcpy(&result, found, sizeof(Found), cudaMemcpyDeviceToHost);
  }
  printf("{\"measured\": \"%s\", \"blocks\": %u, \"cluster\": %u, ", what, blocks, cluster);
  if (error)
    printf("\"error\": \"%s\"}\n", cudaGetErrorString(error));
  else
    printf("\"nanoseconds\": %.1f, \"cycles\": %.1f, \"late\": %u}\n", double(result.nanoseconds) / rounds,
           double(result.cycles) / rounds, result.late);
  fflush(stdout);
  cudaGetLastError();
}

void report_clusters(int shared) {
  cudaFuncSetAttribute(empty_cluster, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  cudaFuncSetAttribute(empty_cluster, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  for (unsigned cluster : {2u, 4u, 8u, 16u}) {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension, attribute.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(cluster), config.blockDim = dim3(threads), config.dynamicSmemBytes = size_t(shared);
    config.attrs = &attribute, config.numAttrs = 1;
    int count = 0;
    const cudaError_t error = cudaOccupancyMaxActiveClusters(&count, empty_cluster, &config);
    printf("{\"measured\": \"clusters at once\", \"cluster\": %u, \"shared\": %d, \"count\": %d, \"error\": \"%s\"}\n",
           cluster, shared, count, error ? cudaGetErrorString(error) : "");
    cudaGetLastError();
  }
}

}  // namespace

int main() {
  cudaDeviceProp device;
  int driver = 0, runtime = 0, clock = 0;
  if (cudaGetDeviceProperties(&device, 0) != cudaSuccess) return printf("{\"error\": \"no GPU\"}\n"), 1;
  cudaDriverGetVersion(&driver), cudaRuntimeGetVersion(&runtime);
  cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, 0);
  printf(
      "{\"measured\": \"device\", \"name\": \"%s\", \"capability\": \"%d.%d\", \"multiprocessors\": %d, "
      "\"shared\": %zu, \"l2\": %d, \"clock_khz\": %d, \"driver\": %d, \"runtime\": %d}\n",
      device.name, device.major, device.minor, device.multiProcessorCount, device.sharedMemPerBlockOptin,
      device.l2CacheSize, clock, driver, runtime);
  if (device.major >= 9) {
    report_clusters(int(device.sharedMemPerBlockOptin));
    for (unsigned cluster : {2u, 4u, 8u, 16u}) {
      report("cluster barrier, release and acquire", cluster, cluster, cluster_barrier<true>);
      report("cluster barrier, relaxed", cluster, cluster, cluster_barrier<false>);
    }
    report("st.async there and back", 2, 2, async_round_trip);
  }
  report("flag there and back, acquire at every poll", 2, 1, flag_round_trip<true>);
  report("flag there and back, relaxed polls and a fence", 2, 1, flag_round_trip<false>);
  report("a store and membar.gl", 1, 1, fence_after_stores);
  report("a store and membar.gl", unsigned(device.multiProcessorCount), 1, fence_after_stores);
  return 0;
}
