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
    asm(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                    \
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                  \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                              \
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

// What a lane has of count matrices of 8 * tiles rows n and 16 columns m, summed up: number j of tile i is that of row
// tile_row(i, j) and column tile_column(j).
template <int count, int tiles>
struct TileSums {
  float of[count][tiles][4] = {};
};
__device__ inline int tile_row(int tile, int j) { return tile * 8 + threadIdx.x % 4 * 2 + j % 2; }
__device__ inline int tile_column(int j) { return threadIdx.x % 32 / 4 + j / 2 * 8; }

// This lane's part of tile_depth columns k of 8 * tiles rows from b[n][k].
template <int tiles, class T>
__device__ inline void load_right(uint32_t (&right)[tiles][2], const T* b, int b_row, int k) {
  const T* lane = b + threadIdx.x % 32 / 4 * b_row + threadIdx.x % 4 * numbers_per_word<T> + k;
#pragma unroll
  for (int n = 0; n < tiles; ++n) {
    right[n][0] = *reinterpret_cast<const uint32_t*>(lane + n * 8 * b_row);
    right[n][1] = *reinterpret_cast<const uint32_t*>(lane + n * 8 * b_row + tile_depth<T> / 2);
  }
}

// For g < count:  sums[g][n][m] = sum over k in [begin, end) of a[g][m][k] * b[n][k],  m < 16, n < 8 * tiles; begin and
// end are multiples of 16. With `transposed` it is a[g][k][m] that lies in memory. `..._row` numbers from one row to
// the next, `..._next` from one g to the next; rows of a and b begin at multiples of 16 bytes. All of a warp calls it.
template <int count, int tiles, bool transposed, class T>
__device__ inline TileSums<count, tiles> multiply_tile(const T* a, int a_row, int a_next, const T* b, int b_row,
                                                       int begin, int end) {
  TileSums<count, tiles> sums;
#pragma unroll(count == 1 ? 4 : 2)
  for (int k = begin; k < end; k += tile_depth<T>) {
    uint32_t right[tiles][2], left[count][4];
    load_right<tiles>(right, b, b_row, k);
#pragma unroll
    for (int g = 0; g < count; ++g)
      load_left<transposed>(left[g], a + g * a_next + (transposed ? k * a_row : k), a_row);
#pragma unroll
    for (int g = 0; g < count; ++g)
#pragma unroll
      for (int n = 0; n < tiles; ++n) multiply_add(sums.of[g][n], left[g], right[n], T{});
  }
  return sums;
}

// The same where a stays in registers: `steps` times tile_depth numbers of k at most, 4 * count * steps registers of a
// lane. Read once, at the beginning of a sequence, it is not read from shared memory at every step.
template <int count, int steps, bool transposed, class T>
class ResidentTile {
 public:
  static constexpr int most_depth = steps * tile_depth<T>;
  __device__ void load(const T* a, int a_row, int a_next, int first, int last) {
    begin = first, end = last;
#pragma unroll
    for (int s = 0; s < steps; ++s)
#pragma unroll
      for (int g = 0; g < count; ++g)
        if (const int k = begin + s * tile_depth<T>; k < end)
          load_left<transposed>(left[s][g], a + g * a_next + (transposed ? k * a_row : k), a_row);
  }
  template <int tiles>
  __device__ TileSums<count, tiles> multiply(const T* b, int b_row) const {
    TileSums<count, tiles> sums;
    uint32_t right[steps][tiles][2] = {};  // all of it first: one wait for shared memory instead of one a step
#pragma unroll
    for (int s = 0; s < steps; ++s)
      if (const int k = begin + s * tile_depth<T>; k < end) load_right<tiles>(right[s], b, b_row, k);
#pragma unroll
    for (int s = 0; s < steps; ++s)
      if (begin + s * tile_depth<T> < end)
#pragma unroll
        for (int g = 0; g < count; ++g)
#pragma unroll
          for (int n = 0; n < tiles; ++n) multiply_add(sums.of[g][n], left[s][g], right[s][n], T{});
    return sums;
  }

 private:
  uint32_t left[steps][count][4];
  int begin, end;
};

}  // namespace fastrnn::cuda
