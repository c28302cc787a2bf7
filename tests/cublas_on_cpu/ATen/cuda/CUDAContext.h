// What csrc/cuda/product.cpp uses of cuBLAS and of torch's handle for it, on the CPU: a build of torch without CUDA has
// neither. It reads and writes memory by pointers and leading dimensions, as cuBLAS does; so a wrong one is seen.
#pragma once
#include <ATen/ATen.h>
#include <library_types.h>

#include <algorithm>

#include "../../../../csrc/cuda/number.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cublasMath_t {
  CUBLAS_DEFAULT_MATH = 0,
  CUBLAS_TF32_TENSOR_OP_MATH = 3,
  CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16
};

struct cublasContext {
  cublasMath_t math;
};
using cublasHandle_t = cublasContext*;

inline const char* cublasGetStatusString(cublasStatus_t) { return "CUBLAS_STATUS_INVALID_VALUE"; }
inline cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t math) {
  return handle->math = math, CUBLAS_STATUS_SUCCESS;
}

namespace at::cuda {
// torch sets the handle's mode by the switch of its own products.
inline cublasHandle_t getCurrentCUDABlasHandle() {
  static cublasContext handle;
  const bool tf32 = at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) ==
                    at::Float32Precision::TF32;
  handle.math = tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH;
  return &handle;
}
}  // namespace at::cuda

namespace cublas_on_cpu {

inline at::ScalarType scalar_type(cudaDataType_t type) {
  return type == CUDA_R_64F    ? at::kDouble
         : type == CUDA_R_32F  ? at::kFloat
         : type == CUDA_R_16BF ? at::kBFloat16
                               : at::kHalf;
}

// A matrix in columns, as an at::Tensor of its memory.
inline at::Tensor matrix(const void* numbers, cudaDataType_t type, int64_t rows, int64_t columns, int64_t leading) {
  return at::from_blob(const_cast<void*>(numbers), {rows, columns}, {1, leading}, at::dtype(scalar_type(type)));
}

inline at::Tensor rounded_to_tf32(const at::Tensor& t) {
  at::Tensor rounded = t.clone(at::MemoryFormat::Contiguous);
  float* numbers = rounded.data_ptr<float>();
  for (int64_t i = 0; i < rounded.numel(); ++i) fastrnn::cuda::store_operand(numbers + i, numbers[i]);
  return rounded;
}

}  // namespace cublas_on_cpu

// c = op(a) · op(b) + beta c, all in columns; op(a) is m by k, op(b) k by n. alpha is 1.
inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation,
                                   int m, int n, int k, const void*, const void* a, cudaDataType_t a_type,
                                   int a_leading, const void* b, cudaDataType_t b_type, int b_leading, const void* beta,
                                   void* c, cudaDataType_t c_type, int c_leading, cublasComputeType_t compute,
                                   cublasGemmAlgo_t) {
  using namespace cublas_on_cpu;
  const bool a_plain = a_operation == CUBLAS_OP_N, b_plain = b_operation == CUBLAS_OP_N;
  if (a_leading < std::max(1, a_plain ? m : k) || b_leading < std::max(1, b_plain ? k : n) ||
      c_leading < std::max(1, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  const at::ScalarType wide = compute == CUBLAS_COMPUTE_64F ? at::kDouble : at::kFloat;
  const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                    (compute == CUBLAS_COMPUTE_32F && handle->math % 16 == CUBLAS_TF32_TENSOR_OP_MATH);
  auto operand = [&](const at::Tensor& t) {
    return tf32 && t.scalar_type() == at::kFloat ? rounded_to_tf32(t) : t.to(wide);
  };
  const at::Tensor left =
      operand(a_plain ? matrix(a, a_type, m, k, a_leading) : matrix(a, a_type, k, m, a_leading).t());
  const at::Tensor right =
      operand(b_plain ? matrix(b, b_type, k, n, b_leading) : matrix(b, b_type, n, k, b_leading).t());
  const at::Tensor out = matrix(c, c_type, m, n, c_leading), product = at::mm(left, right);
  const bool add = wide == at::kDouble ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
  out.copy_(add ? at::add(product, out.to(wide)) : product);
  return CUBLAS_STATUS_SUCCESS;
}
