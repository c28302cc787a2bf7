// torch's handle of cuBLAS and its current stream, which a torch without CUDA does not have.
#pragma once
#include <ATen/Context.h>
#include <cublas_v2.h>

#include "../../gpu.h"

namespace at::cuda {

inline cudaStream_t getCurrentCUDAStream() { return nullptr; }

// torch sets the handle's mode by the switch of its own products, and warns where the thread has no context: this
// counts.
inline cublasHandle_t getCurrentCUDABlasHandle() {
  fastrnn::cuda::emulated::calls.without_context += !fastrnn::cuda::emulated::has_context;
  static cublasContext handle;
  const bool tf32 = at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
                    at::Float32Precision::TF32;
  handle.math = tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH;
  return &handle;
}

}  // namespace at::cuda
