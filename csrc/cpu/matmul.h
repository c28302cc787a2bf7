// The register-tiled matrix product, and the packing of weights for it.
//
// Everything here is  C[i] = init[i] + sum over k of A[i][k] * B[k]  where the rows of A, init and C are given one
// pointer each: a time step's rows may be strided, packed or ragged, and the first step's rows come from h0.
//
// Every number of C is summed in the same order whatever the tile it falls into: chains of `block_depth` multiply-adds
// from zero, one added to C after the other. So results are the same to the last bit however rows and columns are
// shared out among threads; and short chains keep the rounding error down (one chain over 151 steps: ten times that of
// torch, see docs/adr/0003).
#pragma once
#include <string.h>

#include "threads.h"

namespace fastrnn::FASTRNN_TARGET {

constexpr int max_vectors = 4;  // columns of a tile, in registers

// A panel's 4 vectors x 128 are 32 KiB, which stay in the first-level cache while the tiles of a block go by.
constexpr int64_t block_depth = 128;

// Rows of a tile: as many accumulators as leave room for a row of B and a broadcast of A.
constexpr int tile_rows(int vectors) {
  constexpr int registers = FASTRNN_REGISTERS;
  int rows = (registers - 2) / vectors - 1;
  return rows > 8 ? 8 : rows;
}

// A block of columns of B, packed as [k][vector][lane] with `step` numbers from one k to the next, and where each of
// its vectors goes in a row of C. The last vector may be partly outside: only `tail` of its lanes exist in C.
template <class T>
struct Panel {
  const T* b;
  int64_t step;
  int vectors;
  int tail;
  int64_t column[max_vectors];
};

template <class T, int M, int N>
void tile(int64_t depth, const T* const* a_rows, int64_t a_step, const Panel<T>& panel, int64_t first,
          const T* const* init, T* const* c) {
  using V = Vec<T>;
  typename V::Register sum[M][N] = {};
  const T* a[M];
  for (int i = 0; i < M; ++i) a[i] = a_rows[i] + first * a_step;
  int64_t step = panel.step;
  const T* b = panel.b + first * step;
  for (int64_t k = 0, ka = 0; k < depth; ++k, ka += a_step, b += step) {
    typename V::Register row[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) row[j] = V::load(b + j * V::lanes).v;
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] += a[i][ka] * row[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      int64_t column = panel.column[j];
      int n = j == N - 1 ? panel.tail : V::lanes;
      (V::load(init[i] + column, n) + V(sum[i][j])).store(c[i] + column, n);
    }
  }
}

template <class T, int N>
void tile_of_rows(int rows, int64_t depth, const T* const* a, int64_t a_step, const Panel<T>& panel, int64_t first,
                  const T* const* init, T* const* c) {
  constexpr int most = tile_rows(N);
  switch (rows) {
    case 1: return tile<T, 1, N>(depth, a, a_step, panel, first, init, c);
    case 2: return tile<T, 2, N>(depth, a, a_step, panel, first, init, c);
    case 3: return tile<T, most < 3 ? 1 : 3, N>(depth, a, a_step, panel, first, init, c);
    case 4: return tile<T, most < 4 ? 1 : 4, N>(depth, a, a_step, panel, first, init, c);
    case 5: return tile<T, most < 5 ? 1 : 5, N>(depth, a, a_step, panel, first, init, c);
    case 6: return tile<T, most < 6 ? 1 : 6, N>(depth, a, a_step, panel, first, init, c);
    case 7: return tile<T, most < 7 ? 1 : 7, N>(depth, a, a_step, panel, first, init, c);
    case 8: return tile<T, most < 8 ? 1 : 8, N>(depth, a, a_step, panel, first, init, c);
  }
}

// One panel's columns for rows 0 … rows-1. `a_row`, `init_row` and `c_row` give the pointer of row i. Element k of row
// i of A is a_row(i)[k * a_step].
template <class T, class ARow, class InitRow, class CRow>
void product(const Panel<T>& panel, int64_t rows, int64_t depth, ARow a_row, int64_t a_step,
                            InitRow init_row, CRow c_row) {
  if (rows <= 0) return;
  int64_t tiles = divide_up(rows, tile_rows(panel.vectors));
  const T *a[8], *init[8];
  T* c[8];
  for (int64_t first = 0; first < depth; first += block_depth) {
    int64_t block = smaller(block_depth, depth - first);
    for (int64_t n = 0; n < tiles; ++n) {  // of nearly equal height: 8 rows are 4 + 4, not 6 + 2
      int64_t top = rows * n / tiles;
      int height = int(rows * (n + 1) / tiles - top);
      for (int i = 0; i < height; ++i) {
        a[i] = a_row(top + i), c[i] = c_row(top + i);
        init[i] = first ? c[i] : init_row(top + i);
      }
      switch (panel.vectors) {
        case 1: tile_of_rows<T, 1>(height, block, a, a_step, panel, first, init, c); break;
        case 2: tile_of_rows<T, 2>(height, block, a, a_step, panel, first, init, c); break;
        case 3: tile_of_rows<T, 3>(height, block, a, a_step, panel, first, init, c); break;
        case 4: tile_of_rows<T, 4>(height, block, a, a_step, panel, first, init, c); break;
      }
    }
  }
}

// A panel's vector of columns from rows of a matrix: packed[k][lane] = rows[lane][k], for n rows, zero beyond.
template <class T>
void pack_transposed(const T* rows, int64_t leading, int n, int64_t depth, T* packed, int64_t step) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t k = 0; k < depth; k += lanes) {
    int count = int(smaller(lanes, depth - k));
    typename Vec<T>::Register square[lanes] = {};
    for (int lane = 0; lane < n; ++lane) square[lane] = Vec<T>::load(rows + lane * leading + k, count).v;
    transpose<T>(square);
    for (int i = 0; i < count; ++i) Vec<T>(square[i]).store(packed + (k + i) * step);
  }
}

// A panel's columns from columns of a matrix: packed[k][lane] = row(k)[lane], for n lanes, zero up to `width`.
template <class T, class Row>
void pack_columns(Row row, int64_t n, int64_t depth, T* packed, int64_t width) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t k = 0; k < depth; ++k) {
    const T* from = row(k);
    for (int64_t j = 0; j < width; j += lanes) {
      int left = int(smaller(lanes, n - j));
      (left > 0 ? Vec<T>::load(from + j, left) : Vec<T>{}).store(packed + k * width + j);
    }
  }
}

// out[j] = init[j] + row_j . a for n rows of a matrix, read where it lies. For so few products that packing, which
// reads the matrix once and writes it once, would cost more than it saves.
template <class T>
void dot_rows(const T* rows, int64_t leading, int n, int64_t depth, const T* a, const T* init, T* out) {
  using V = Vec<T>;
  constexpr int together = 8;
  int64_t whole = depth / V::lanes * V::lanes;
  for (int j = 0; j < n; j += together) {
    int count = n - j < together ? n - j : together;
    V sum[together] = {};
    const T* row[together];
    for (int i = 0; i < together; ++i) row[i] = rows + (j + (i < count ? i : 0)) * leading;
    for (int64_t k = 0; k < whole; k += V::lanes)
      for (int i = 0; i < together; ++i) sum[i] = sum[i] + V::load(row[i] + k) * V::load(a + k);
    if (whole < depth)
      for (int i = 0; i < together; ++i)
        sum[i] = sum[i] + V::load(row[i] + whole, int(depth - whole)) * V::load(a + whole, int(depth - whole));
    for (int i = 0; i < count; ++i) out[j + i] = init[j + i] + sum[i].sum();
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
