// The functions of CUDA's runtime that csrc/cuda calls. What is not here cannot be called: there is no cudaMalloc.
#include <cuda_runtime.h>

#include <cstring>

#include "gpu.h"

namespace emulated = fastrnn::cuda::emulated;

// An H100, except for the number of its multiprocessors: few, so that rows of the batch share a team.
constexpr int most_shared = 227 << 10;

const char* cudaGetErrorString(cudaError_t) { return "no such thing here"; }
cudaError_t cudaGetLastError() { return std::exchange(emulated::last_error, cudaSuccess); }
cudaError_t cudaSetDevice(int) {
  if (emulated::captured) return emulated::failed(cudaErrorStreamCaptureUnsupported);
  return ++emulated::calls.others, emulated::has_context = true, cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  return ++emulated::calls.others, *device = emulated::device.number, cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  ++emulated::calls.others;
  *value = which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? most_shared
           : which == cudaDevAttrComputeCapabilityMajor     ? 9
                                                            : int(emulated::device.multiprocessors());
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return ++emulated::calls.attributes, cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* count, const void*, int, size_t shared) {
  ++emulated::calls.others;
  return *count = shared <= most_shared, cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int* count, const void*, const cudaLaunchConfig_t* config) {
  ++emulated::calls.others;
  *count = int(emulated::device.clusters_at_once(config->attrs->val.clusterDim.x));
  return *count ? cudaSuccess : emulated::failed(cudaErrorInvalidConfiguration);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return ++emulated::calls.copies, std::memcpy(to, from, bytes), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return ++emulated::calls.copies, std::memset(to, value, bytes), cudaSuccess;
}
