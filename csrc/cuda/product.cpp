#include "product.h"

#include <cuda_runtime_api.h>

#include <climits>
#include <stdexcept>
#include <string>

namespace fastrnn::cuda {

namespace {

cudaDataType_t data_type(Number number) {
  switch (number) {
    case Number::float64:
      return CUDA_R_64F;
    case Number::float32:
      return CUDA_R_32F;
    case Number::bfloat16:
      return CUDA_R_16BF;
    case Number::float16:
      return CUDA_R_16F;
  }
  throw std::logic_error("unknown kind of number");
}

cublasComputeType_t compute_type(Number number, bool tf32) {
  if (number == Number::float64) return CUBLAS_COMPUTE_64F;
  return tf32 && number == Number::float32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

int size(int64_t n) {
  if (n > INT_MAX)
    throw std::invalid_argument("cuBLAS multiplies matrices of at most 2^31 - 1 rows and columns, got " +
                                std::to_string(n) + ". Split the batch");
  return int(n);
}

void check(cublasStatus_t status, const std::string& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  cudaGetLastError();  // clears it, or torch would report it again at a later call
  throw std::runtime_error("cuBLAS failed " + what + ": " + cublasGetStatusString(status));
}

}  // namespace

// torch hands out its handle in the mode of its own products, which has a switch of its own for TF32 and may add parts
// of a sum in 16 bits. Here the compute type alone says what is rounded.
Products::Products(cublasHandle_t handle, bool tf32) : handle(handle), tf32(tf32) {
  constexpr int mode = CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  check(cublasSetMathMode(handle, cublasMath_t(mode)), "to set its math mode");
}

void Products::multiply(ProductSize size, Matrix out, Matrix a, Matrix b, bool add) const {
  run(size, out, CUBLAS_OP_N, a, CUBLAS_OP_N, b, add);
}

void Products::multiply_transposed(ProductSize size, Matrix out, Matrix a, Matrix b) const {
  run(size, out, CUBLAS_OP_N, a, CUBLAS_OP_T, b, false);
}

void Products::transposed_multiply(ProductSize size, Matrix out, Matrix a, Matrix b, bool add) const {
  run(size, out, CUBLAS_OP_T, a, CUBLAS_OP_N, b, add);
}

// Rows of a matrix are columns of cuBLAS's: outᵀ = bᵀ · aᵀ.
void Products::run(ProductSize s, const Matrix& out, cublasOperation_t a_operation, const Matrix& a,
                   cublasOperation_t b_operation, const Matrix& b, bool add) const {
  const double one = 1, beta = add;
  const float one_float = 1, beta_float = add;
  const bool is_double = a.number == Number::float64;
  const void *const alpha_at = is_double ? static_cast<const void*>(&one) : &one_float,
                    *const beta_at = is_double ? static_cast<const void*>(&beta) : &beta_float;
  const int rows = size(s.rows), columns = size(s.columns), depth = size(s.depth);
  const cudaDataType_t factors = data_type(a.number), result = data_type(out.number);
  const cublasComputeType_t compute = compute_type(a.number, tf32);
  const cublasStatus_t status =
      s.count == 1 ? cublasGemmEx(handle, b_operation, a_operation, columns, rows, depth, alpha_at, b.data, factors,
                                  size(b.row), a.data, factors, size(a.row), beta_at, out.data, result, size(out.row),
                                  compute, CUBLAS_GEMM_DEFAULT)
                   : cublasGemmStridedBatchedEx(handle, b_operation, a_operation, columns, rows, depth, alpha_at,
                                                b.data, factors, size(b.row), b.next, a.data, factors, size(a.row),
                                                a.next, beta_at, out.data, result, size(out.row), out.next,
                                                size(s.count), compute, CUBLAS_GEMM_DEFAULT);
  if (status != CUBLAS_STATUS_SUCCESS)
    check(status, "on " + (s.count == 1 ? std::string("a product") : std::to_string(s.count) + " products") + " of " +
                      std::to_string(s.rows) + " x " + std::to_string(s.depth) + " and " + std::to_string(s.depth) +
                      " x " + std::to_string(s.columns));
}

}  // namespace fastrnn::cuda
