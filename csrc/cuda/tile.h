// A warp's product of matrices in shared memory, on the matrix units: 16-bit numbers, or float32 rounded to TF32,
// summed in float32.
#pragma once
#include "number.h"

namespace fastrnn::cuda {

// A row of the units' matrices is 16 bytes: four words of two numbers or one.
template <class T>
constexpr int numbers_per_word = 4 / sizeof(T);
template <class T>
constexpr int tile_depth = 8 * numbers_per_word<T>;

// Four matrices of 8 rows, one row from each lane's address; 16-bit numbers transposed on the way if asked.
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

#define FASTRNN_MULTIPLY_ADD(T, instruction)                                                              \
  __device__ inline void multiply_add(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], T) { \
    asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"           \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                     \
  }
FASTRNN_MULTIPLY_ADD(__half, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
FASTRNN_MULTIPLY_ADD(__nv_bfloat16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
FASTRNN_MULTIPLY_ADD(float, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
#undef FASTRNN_MULTIPLY_ADD

// This lane's part of 16 rows m and tile_depth columns k from [m][k], or with `transposed` from [k][m].
template <bool transposed, class T>
__device__ inline void load_left(uint32_t (&left)[4], const T* a, int row) {
  const int lane = threadIdx.x % 32, matrix = lane / 8, r = lane % 8;
  constexpr int half_depth = tile_depth<T> / 2;
  if constexpr (transposed && sizeof(T) == 4) {  // no instruction transposes 32-bit numbers
    for (int i = 0; i < 4; ++i)
      left[i] = __float_as_uint(a[(lane % 4 + i / 2 * half_depth) * row + lane / 4 + i % 2 * 8]);
  } else {
    // The four matrices are (m, k), (m + 8, k), (m, k + half_depth), (m + 8, k + half_depth).
    const int m = matrix % 2 * 8, k = matrix / 2 * half_depth;
    load_matrices<transposed>(left, transposed ? a + (k + r) * row + m : a + (m + r) * row + k);
  }
}

// For g < count:  out[g][n][m] = sum over k in [begin, end) of a[g][m][k] * b[n][k],  m < 16, n < 8 * tiles; begin and
// end are multiples of 16. With `transposed` it is a[g][k][m] that lies in memory. `..._row` numbers from one row to
// the next, `..._next` from one g to the next; rows of a and b begin at multiples of 16 bytes. All of a warp calls it.
template <int count, int tiles, bool transposed, class T>
__device__ inline void multiply_tile(const T* a, int a_row, int a_next, const T* b, int b_row, int begin, int end,
                                     float* out, int out_row, int out_next) {
  float c[count][tiles][4] = {};
  const int lane = threadIdx.x % 32;
  const T* b_lane = b + lane / 4 * b_row + lane % 4 * numbers_per_word<T>;
  for (int k = begin; k < end; k += tile_depth<T>) {
    uint32_t right[tiles][2];
#pragma unroll
    for (int n = 0; n < tiles; ++n) {
      const T* word = b_lane + n * 8 * b_row + k;
      right[n][0] = *reinterpret_cast<const uint32_t*>(word);
      right[n][1] = *reinterpret_cast<const uint32_t*>(word + tile_depth<T> / 2);
    }
#pragma unroll
    for (int g = 0; g < count; ++g) {
      uint32_t left[4];
      load_left<transposed>(left, a + g * a_next + (transposed ? k * a_row : k), a_row);
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
}

}  // namespace fastrnn::cuda
