// What csrc/cuda/product.cpp uses of cuBLAS, on the CPU. It reads and writes memory by pointers and leading dimensions,
// as cuBLAS does, so that a wrong one shows.
#pragma once
#include <cuda_runtime_api.h>
#include <library_types.h>

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_EXECUTION_FAILED = 13 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cublasMath_t {
  CUBLAS_DEFAULT_MATH = 0,
  CUBLAS_TF32_TENSOR_OP_MATH = 3,
  CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16
};

struct cublasContext {
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
};
using cublasHandle_t = cublasContext*;

const char* cublasGetStatusString(cublasStatus_t status);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t math);

// c = op(a) · op(b) + beta c, all in columns; op(a) is m by k, op(b) k by n. alpha is 1.
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType_t a_type, int a_leading,
                            const void* b, cudaDataType_t b_type, int b_leading, const void* beta, void* c,
                            cudaDataType_t c_type, int c_leading, cublasComputeType_t compute, cublasGemmAlgo_t);
// The same for `count` matrices, each `..._next` numbers after the one before.
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t a_operation,
                                          cublasOperation_t b_operation, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType_t a_type, int a_leading, long long a_next,
                                          const void* b, cudaDataType_t b_type, int b_leading, long long b_next,
                                          const void* beta, void* c, cudaDataType_t c_type, int c_leading,
                                          long long c_next, int count, cublasComputeType_t compute, cublasGemmAlgo_t);
