// The matrix products between the pointwise kernels, by cuBLAS.
#pragma once
#include <cublas_v2.h>

#include "number.h"

namespace fastrnn::cuda {

// Rows of numbers side by side, `row` numbers apart. Of several products at once the matrix of the first; that of the
// next begins `next` numbers further on.
struct Matrix {
  void* data;
  int64_t row, next;
  Number number;

  template <class T>
  Matrix(T* data, int64_t row, int64_t next = 0)
      : data(const_cast<std::remove_const_t<T>*>(data)), row(row), next(next),
        number(number_of<std::remove_const_t<T>>) {}
};

struct ProductSize {
  int64_t rows, columns, depth;  // of the result, and of the sums
  int64_t count = 1;             // of products of this size, which are one call
};

// Factors have numbers of one type; the result has the same or, of 16-bit numbers, float32, in which those are always
// summed. No two matrices share memory, nor two rows of one.
class Products {
 public:
  // The handle's stream is that of the kernels. float32 numbers are rounded to TF32 before they are multiplied if
  // `tf32`. Sets the handle's math mode and leaves it so: torch sets its own whenever it hands out a handle.
  Products(cublasHandle_t handle, bool tf32);

  // out = a · b, or out += a · b
  void multiply(ProductSize size, Matrix out, Matrix a, Matrix b, bool add = false) const;
  // out = a · bᵀ
  void multiply_transposed(ProductSize size, Matrix out, Matrix a, Matrix b) const;
  // out = aᵀ · b, or out += aᵀ · b
  void transposed_multiply(ProductSize size, Matrix out, Matrix a, Matrix b, bool add) const;

 private:
  void run(ProductSize size, const Matrix& out, cublasOperation_t a_operation, const Matrix& a,
           cublasOperation_t b_operation, const Matrix& b, bool add) const;

  const cublasHandle_t handle;
  const bool tf32;
};

}  // namespace fastrnn::cuda
