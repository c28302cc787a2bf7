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

// A panel's 4 vectors x 128 are 32 KiB: with the rows of A and C for 48 rows, what the first two caches hold while the
// tiles of a block go by.
constexpr int64_t block_depth = 128, block_rows = 48;

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

// One tile's work: `rows` rows of C over `depth` rows of the panel from `first` on. `fetch` is what will be needed
// next.
template <class T>
struct Tile {
  int rows;
  int64_t first, depth, a_step;
  const T* fetch;
  const T *a[8], *init[8];
  T* c[8];
};

template <class T, int M, int N>
void multiply(const Panel<T>& panel, const Tile<T>& tile) {
  using V = Vec<T>;
  typename V::Register sum[M][N] = {};
  const T* a[M];
  for (int i = 0; i < M; ++i) a[i] = tile.a[i] + tile.first * tile.a_step;
  const int64_t depth = tile.depth, a_step = tile.a_step, b_step = panel.step;
  const T *b = panel.b + tile.first * b_step, *fetch = tile.fetch;
  for (int64_t k = 0, ka = 0; k < depth; ++k, ka += a_step, b += b_step, fetch += V::lanes) {
    typename V::Register row[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) row[j] = V::load(b + j * V::lanes).v;
    if constexpr (M > 2) __builtin_prefetch(fetch, 0, 2);  // fewer rows wait for the weights anyway
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
      (V::load(tile.init[i] + column, n) + V(sum[i][j])).store(tile.c[i] + column, n);
    }
  }
}

// multiply() for the tile's number of rows and the panel's number of vectors.
template <class T, int N = max_vectors, int M = tile_rows(N)>
void multiply_any(const Panel<T>& panel, const Tile<T>& tile) {
  if (panel.vectors != N) {
    if constexpr (N > 1) multiply_any<T, N - 1>(panel, tile);
  } else if (tile.rows != M) {
    if constexpr (M > 1) multiply_any<T, N, M - 1>(panel, tile);
  } else {
    multiply<T, M, N>(panel, tile);
  }
}

// One panel's columns for rows 0 … rows-1. `a_row`, `init_row` and `c_row` give the pointer of row i. Element k of row
// i of A is a_row(i)[k * a_step].
//
// While the tiles of a block of the panel go by, each fetches a part of the block after it: weights that come from the
// third-level cache arrive while there is work (H 512, B 32: see docs/adr/0003).
template <class T, class ARow, class InitRow, class CRow>
void product(const Panel<T>& panel, int64_t rows, int64_t depth, ARow a_row, int64_t a_step, InitRow init_row,
             CRow c_row) {
  Tile<T> tile;
  tile.a_step = a_step;
  const int64_t blocks = divide_up(rows, block_rows), depths = divide_up(depth, block_depth);
  for (int64_t i = 0; i < blocks; ++i) {
    int64_t block = rows * i / blocks, count = rows * (i + 1) / blocks - block;
    int64_t tiles = divide_up(count, tile_rows(panel.vectors));
    for (int64_t d = 0; d < depths; ++d) {  // of nearly equal depth: 129 are 64 + 65, not 128 + 1
      tile.first = depth * d / depths, tile.depth = depth * (d + 1) / depths - tile.first;
      tile.fetch = panel.b + (tile.first + tile.depth) * panel.step;
      for (int64_t n = 0; n < tiles; ++n) {  // of nearly equal height: 8 rows are 4 + 4, not 6 + 2
        int64_t top = block + count * n / tiles;
        tile.rows = int(block + count * (n + 1) / tiles - top);
        for (int m = 0; m < tile.rows; ++m) {
          tile.a[m] = a_row(top + m), tile.c[m] = c_row(top + m);
          tile.init[m] = tile.first ? tile.c[m] : init_row(top + m);
        }
        multiply_any(panel, tile);
        if (n + 1 < panel.vectors) tile.fetch += tile.depth * Vec<T>::lanes;
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
