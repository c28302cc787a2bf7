// The shape of the small kernels: a thread per column of a matrix, which goes from row to row. Neighbouring threads
// read and write neighbouring memory.
#pragma once
#include "launch.h"
#include "number.h"

namespace fastrnn::cuda {

constexpr int column_threads = 128;
constexpr int64_t most_rows_at_once = 65535;  // of a grid

// work(row, column) computes one number, or all the numbers of one hidden unit.
template <class Work>
__global__ void __launch_bounds__(column_threads) each_number(Work work, int64_t rows, int64_t columns) {
  const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) work(row, column);
}

template <class Work>
cudaError_t for_each_number(const Work& work, int64_t rows, int64_t columns, cudaStream_t stream) {
  const dim3 grid(unsigned((columns + column_threads - 1) / column_threads),
                  unsigned(rows < most_rows_at_once ? rows : most_rows_at_once));
  return launch(each_number<Work>, {grid, column_threads}, stream, work, rows, columns);
}

}  // namespace fastrnn::cuda
