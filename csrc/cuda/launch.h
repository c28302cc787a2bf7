// How a kernel is started.
#pragma once
#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <utility>

#include "hardware.h"

namespace fastrnn::cuda {

struct Launch {
  dim3 grid;
  unsigned threads;
  unsigned cluster = 1;   // blocks
  size_t shared = 0;      // bytes of a block's shared memory
  bool together = false;  // all blocks run at the same time, or it is an error
};

inline int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, which, device) == cudaSuccess ? value : 0;
}

// Allows a kernel all shared memory and the largest clusters that the current device has; asked once per device.
inline cudaError_t prepare(const void* kernel) {
  static std::mutex mutex;
  static std::set<std::pair<const void*, int>> prepared;
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error) return error;
  const std::lock_guard lock(mutex);
  if (prepared.count({kernel, device})) return cudaSuccess;
  error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  if (!error && attribute(cudaDevAttrComputeCapabilityMajor, device) >= 9)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (!error) prepared.insert({kernel, device});
  return error;
}

// A launch as CUDA wants it; not to be copied, since one part points to the other.
struct Configuration {
  cudaLaunchAttribute attribute{};
  cudaLaunchConfig_t config{};

  Configuration(const Launch& shape, cudaStream_t stream) {
    if (shape.together) {
      attribute.id = cudaLaunchAttributeCooperative;
      attribute.val.cooperative = 1;
    } else {
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {shape.cluster, 1, 1};
    }
    config.gridDim = shape.grid, config.blockDim = dim3(shape.threads), config.dynamicSmemBytes = shape.shared;
    config.stream = stream, config.attrs = &attribute;
    config.numAttrs = shape.together || shape.cluster > 1;
  }
  Configuration(const Configuration&) = delete;
};

// How many of a launch's clusters, or blocks, the current device runs at the same time. 0 where there is no place for
// one: clusters stay within a part of the chip, so there are fewer than multiprocessors / size (15 of 8 on an H100).
inline int64_t most_at_once(const void* kernel, const Launch& shape) {
  int device = 0, count = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (!error) error = prepare(kernel);
  if (!error && shape.cluster > 1) {
    const Configuration configuration(shape, nullptr);
    error = cudaOccupancyMaxActiveClusters(&count, kernel, &configuration.config);
  } else if (!error) {
    error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&count, kernel, int(shape.threads), shape.shared);
    count *= attribute(cudaDevAttrMultiProcessorCount, device);
  }
  if (!error) return count;
  cudaGetLastError();  // an answer here, no fault
  return 0;
}

template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), const Launch& shape, cudaStream_t stream,
                   const Parameters&... parameters) {
  constexpr size_t always_allowed = 48 << 10;  // bytes of shared memory
  const bool beyond = shape.shared > always_allowed || shape.cluster > 1;
  const cudaError_t error = beyond ? prepare(reinterpret_cast<const void*>(kernel)) : cudaSuccess;
  if (error) return error;
  const Configuration configuration(shape, stream);
  return start(configuration.config, kernel, parameters...);
}

}  // namespace fastrnn::cuda
