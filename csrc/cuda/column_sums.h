// The sums over the rows of a matrix, column by column: always in the same order, without atomics.
#pragma once
#include "launch.h"
#include "number.h"

namespace fastrnn::cuda {

constexpr int sum_columns = 32, sum_parts = 16;  // threads of a block: each sums a part of one column's rows

// The launch of sums over `columns` columns of `matrices` matrices (blockIdx.y).
inline Launch launch_sums(int64_t columns, unsigned matrices, size_t bytes_of_number) {
  Launch shape{dim3(unsigned((columns + sum_columns - 1) / sum_columns), matrices), sum_columns * sum_parts};
  shape.shared = shape.threads * bytes_of_number;
  return shape;
}

// number(row, column): what to add up. A thread carries along what it rounds off.
template <class A, class NumberAt>
__device__ void sum_column(A* sums, int64_t rows, int64_t columns, bool add, NumberAt number) {
  const int part = threadIdx.x / sum_columns, across = threadIdx.x % sum_columns;
  const int64_t column = int64_t(blockIdx.x) * sum_columns + across;
  A* parts = reinterpret_cast<A*>(shared_memory());
  A sum = 0, rounded_off = 0;
  if (column < columns)
    for (int64_t r = part; r < rows; r += sum_parts) {
      const A x = number(r, column) - rounded_off, next = sum + x, lost = (next - sum) - x;
      rounded_off = lost == lost ? lost : 0, sum = next;  // infinity stays infinity
    }
  parts[threadIdx.x] = sum;
  __syncthreads();
  if (part > 0 || column >= columns) return;
  for (int other = 1; other < sum_parts; ++other) sum += parts[other * sum_columns + across];
  sums[column] = add ? sums[column] + sum : sum;
}

}  // namespace fastrnn::cuda
