#include <cublas_v2.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "gpu.h"

namespace emulated = fastrnn::cuda::emulated;

const char* cublasGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "CUBLAS_STATUS_EXECUTION_FAILED";
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t math) {
  ++emulated::calls.others;
  return handle->math = math, CUBLAS_STATUS_SUCCESS;
}

namespace {

double read(const void* numbers, cudaDataType_t type, int64_t i) {
  using fastrnn::cuda::widened;
  switch (type) {
    case CUDA_R_64F:
      return static_cast<const double*>(numbers)[i];
    case CUDA_R_32F:
      return static_cast<const float*>(numbers)[i];
    case CUDA_R_16BF:
      return widened(static_cast<const __nv_bfloat16*>(numbers)[i]);
    case CUDA_R_16F:
      return widened(static_cast<const __half*>(numbers)[i]);
    default:
      throw std::logic_error("a type that no layer has");
  }
}

void write(void* numbers, cudaDataType_t type, int64_t i, double x) {
  using fastrnn::cuda::store;
  switch (type) {
    case CUDA_R_64F:
      return store(static_cast<double*>(numbers) + i, x);
    case CUDA_R_32F:
      return store(static_cast<float*>(numbers) + i, float(x));
    case CUDA_R_16BF:
      return store(static_cast<__nv_bfloat16*>(numbers) + i, float(x));
    case CUDA_R_16F:
      return store(static_cast<__half*>(numbers) + i, float(x));
    default:
      throw std::logic_error("a type that no layer has");
  }
}

// The columns of op(a), one after the other, as wide as sums are, or the rows of it.
template <class W>
std::vector<W> copied(const void* numbers, cudaDataType_t type, bool plain, int64_t rows, int64_t columns, int leading,
                      bool tf32, bool by_row) {
  std::vector<W> copy(rows * columns);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      W& x = copy[by_row ? r * columns + c : c * rows + r];
      x = W(read(numbers, type, plain ? c * leading + r : r * leading + c));
      if constexpr (sizeof(W) == 4)
        if (tf32 && type == CUDA_R_32F) fastrnn::cuda::store_operand(&x, x);
    }
  return copy;
}

template <class W>
void multiply(bool a_plain, bool b_plain, int m, int n, int k, const void* a, cudaDataType_t a_type, int a_leading,
              const void* b, cudaDataType_t b_type, int b_leading, bool add, void* c, cudaDataType_t c_type,
              int c_leading, bool tf32) {
  const std::vector<W> left = copied<W>(a, a_type, a_plain, m, k, a_leading, tf32, true);
  const std::vector<W> right = copied<W>(b, b_type, b_plain, k, n, b_leading, tf32, false);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = 0; i < m; ++i) {
      constexpr int lanes = 8;
      W sums[lanes] = {}, sum = 0;
      const W *x = &left[i * k], *y = &right[j * k];
      int64_t l = 0;
      for (; l + lanes <= k; l += lanes)
        for (int lane = 0; lane < lanes; ++lane) sums[lane] += x[l + lane] * y[l + lane];
      for (; l < k; ++l) sum += x[l] * y[l];
      for (W each : sums) sum += each;
      const int64_t place = j * c_leading + i;
      write(c, c_type, place, add ? sum + W(read(c, c_type, place)) : sum);
    }
}

size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

}  // namespace

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_operation, cublasOperation_t b_operation, int m,
                            int n, int k, const void* alpha, const void* a, cudaDataType_t a_type, int a_leading,
                            const void* b, cudaDataType_t b_type, int b_leading, const void* beta, void* c,
                            cudaDataType_t c_type, int c_leading, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm) {
  return cublasGemmStridedBatchedEx(handle, a_operation, b_operation, m, n, k, alpha, a, a_type, a_leading, 0, b,
                                    b_type, b_leading, 0, beta, c, c_type, c_leading, 0, 1, compute, algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t a_operation,
                                          cublasOperation_t b_operation, int m, int n, int k, const void* alpha,
                                          const void* a, cudaDataType_t a_type, int a_leading, long long a_next,
                                          const void* b, cudaDataType_t b_type, int b_leading, long long b_next,
                                          const void* beta, void* c, cudaDataType_t c_type, int c_leading,
                                          long long c_next, int count, cublasComputeType_t compute, cublasGemmAlgo_t) {
  ++emulated::calls.products;
  if (std::exchange(emulated::next_product_fails, false)) return CUBLAS_STATUS_EXECUTION_FAILED;
  const bool a_plain = a_operation == CUBLAS_OP_N, b_plain = b_operation == CUBLAS_OP_N;
  const bool is_double = compute == CUBLAS_COMPUTE_64F;
  const bool wide_result = c_type == (is_double ? CUDA_R_64F : CUDA_R_32F);
  auto number = [&](const void* p) {
    return is_double ? *static_cast<const double*>(p) : *static_cast<const float*>(p);
  };
  if (std::min({m, n, k, count}) < 1 || a_leading < (a_plain ? m : k) || b_leading < (b_plain ? k : n) ||
      c_leading < m || a_type != b_type || (c_type != a_type && !wide_result) || number(alpha) != 1 ||
      (count > 1 && c_next == 0))
    return CUBLAS_STATUS_INVALID_VALUE;
  const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                    (compute == CUBLAS_COMPUTE_32F && handle->math % 16 == CUBLAS_TF32_TENSOR_OP_MATH);
  for (int i = 0; i < count; ++i)
    (is_double ? multiply<double>
               : multiply<float>)(a_plain, b_plain, m, n, k,
                                  static_cast<const char*>(a) + i * a_next * bytes_of(a_type), a_type, a_leading,
                                  static_cast<const char*>(b) + i * b_next * bytes_of(b_type), b_type, b_leading,
                                  number(beta) != 0, static_cast<char*>(c) + i * c_next * bytes_of(c_type), c_type,
                                  c_leading, tf32);
  return CUBLAS_STATUS_SUCCESS;
}
