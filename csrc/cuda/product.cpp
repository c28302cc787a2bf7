#include "product.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>

#include <algorithm>
#include <climits>

namespace fastrnn::cuda {

using at::Tensor;

namespace {

// What cuBLAS, which thinks in columns, calls a matrix.
struct Operand {
  cublasOperation_t operation;
  int leading;  // numbers from one row (or column, if transposed) to the next
};

Operand operand(const Tensor& t) {
  const bool rows = t.stride(1) == 1 || t.size(1) == 1;
  TORCH_INTERNAL_ASSERT(rows || t.stride(0) == 1 || t.size(0) == 1);
  const int64_t count = t.size(rows ? 0 : 1), width = t.size(rows ? 1 : 0);
  const int64_t leading = count == 1 ? width : t.stride(rows ? 0 : 1);  // a single row may have any stride
  TORCH_INTERNAL_ASSERT(leading >= width, "rows of ", width, " numbers that lie ", leading, " apart");
  TORCH_CHECK(leading <= INT_MAX, "Expected rows of at most 2^31 - 1 numbers, got ", leading);
  return {rows ? CUBLAS_OP_N : CUBLAS_OP_T, int(std::max<int64_t>(leading, 1))};
}

cudaDataType_t data_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return CUDA_R_64F;
    case at::kFloat:
      return CUDA_R_32F;
    case at::kBFloat16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_16F;
  }
}

cublasComputeType_t compute_type(at::ScalarType dtype) {
  if (dtype == at::kDouble) return CUBLAS_COMPUTE_64F;
  const bool tf32 = dtype == at::kFloat && at::globalContext().allowTF32CuDNN(at::Float32Op::RNN);
  return tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

// torch's handle comes with the mode of torch's own products, which has a switch of its own for TF32 and may add parts
// of a sum in 16 bits. Here the compute type alone says what is rounded. torch sets the mode anew whenever it asks.
cublasHandle_t handle() {
  const cublasHandle_t handle = at::cuda::getCurrentCUDABlasHandle();
  cublasSetMathMode(handle, cublasMath_t(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
  return handle;
}

int size(int64_t n) {
  TORCH_CHECK(n <= INT_MAX, "Expected matrices of at most 2^31 - 1 rows and columns, got ", n);
  return int(n);
}

}  // namespace

// Rows of a matrix are columns of cuBLAS's: outᵀ = bᵀ · aᵀ.
void multiply(const Tensor& out, const Tensor& a, const Tensor& b, bool add) {
  const at::ScalarType dtype = a.scalar_type();
  const Operand left = operand(b), right = operand(a), result = operand(out);
  TORCH_INTERNAL_ASSERT(result.operation == CUBLAS_OP_N && b.scalar_type() == dtype && a.size(1) == b.size(0) &&
                        out.size(0) == a.size(0) && out.size(1) == b.size(1));
  const double one = 1, added = add;
  const float one_float = 1, added_float = add;
  const bool is_double = dtype == at::kDouble;
  const cublasStatus_t status = cublasGemmEx(
      handle(), left.operation, right.operation, size(b.size(1)), size(a.size(0)), size(a.size(1)),
      is_double ? static_cast<const void*>(&one) : &one_float, b.const_data_ptr(), data_type(dtype), left.leading,
      a.const_data_ptr(), data_type(dtype), right.leading, is_double ? static_cast<const void*>(&added) : &added_float,
      out.mutable_data_ptr(), data_type(out.scalar_type()), result.leading, compute_type(dtype), CUBLAS_GEMM_DEFAULT);
  if (status != CUBLAS_STATUS_SUCCESS) cudaGetLastError();  // or the next call of torch would report it again
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLAS failed on a product of ", a.sizes(), " and ", b.sizes(), ": ",
              cublasGetStatusString(status));
}

}  // namespace fastrnn::cuda
