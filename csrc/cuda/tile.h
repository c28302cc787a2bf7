// A warp's product of matrices in shared memory, on the matrix units: m16n8k16, 16-bit numbers summed in float32.
#pragma once
#include "number.h"

namespace fastrnn::cuda {

#ifdef __CUDACC__

// Four 8 × 8 matrices, a row of 8 numbers from each lane's address; transposed on the way if they lie column by column.
template <bool transposed>
__device__ inline void load_matrices(uint32_t (&a)[4], const void* row) {
  const uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address));
}

__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], __half) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], __nv_bfloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

// For g < count:  out[g][n][m] = sum over k in [begin, end) of a[g][m][k] * b[n][k],  m < 16, n < 8 * tiles; begin and
// end are multiples of 16. With `transposed` it is a[g][k][m] that lies in memory. `..._row` numbers from one row to
// the next,
// `..._next` from one g to the next; rows of a and b begin at multiples of 16 bytes. All of a warp calls it.
template <int count, int tiles, bool transposed, class T>
FASTRNN_DEVICE void multiply_tile(const T* a, int a_row, int a_next, const T* b, int b_row, int begin, int end,
                                  float* out, int out_row, int out_next) {
#ifdef __CUDA_ARCH__
  float c[count][tiles][4] = {};
  const int lane = threadIdx.x % 32, matrix = lane / 8, r = lane % 8;
  // Where this lane's row of the four matrices begins: they are (m, k), (m + 8, k), (m, k + 8), (m + 8, k + 8).
  const int m = matrix % 2 * 8, k = matrix / 2 * 8;
  const T* a_lane = transposed ? a + (k + r) * a_row + m : a + (m + r) * a_row + k;
  const T* b_lane = b + lane / 4 * b_row + lane % 4 * 2;
  for (int i = begin; i < end; i += 16) {
    uint32_t right[tiles][2];
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
      const T* pair = b_lane + n * 8 * b_row + i;
      right[n][0] = *reinterpret_cast<const uint32_t*>(pair);
      right[n][1] = *reinterpret_cast<const uint32_t*>(pair + 8);
    }
#pragma unroll
    for (int g = 0; g < count; ++g) {
      uint32_t left[4];
      load_matrices<transposed>(left, a_lane + g * a_next + (transposed ? i * a_row : i));
#pragma unroll
      for (int n = 0; n < tiles; ++n) multiply_add(c[g][n], left, right[n], T{});
    }
  }
#pragma unroll
  for (int g = 0; g < count; ++g)
#pragma unroll
    for (int n = 0; n < tiles; ++n)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        out[g * out_next + (n * 8 + lane % 4 * 2 + j % 2) * out_row + lane / 4 + j / 2 * 8] = c[g][n][j];
#elif !defined(__CUDACC__)
  if (threadIdx.x % 32) return;
  for (int g = 0; g < count; ++g)
    for (int n = 0; n < 8 * tiles; ++n)
      for (int m = 0; m < 16; ++m) {
        float sum = 0;
        for (int k = begin; k < end; ++k)
          sum += widened(a[g * a_next + (transposed ? k * a_row + m : m * a_row + k)]) * widened(b[n * b_row + k]);
        out[g * out_next + n * out_row + m] = sum;
      }
#endif
}

}  // namespace fastrnn::cuda
