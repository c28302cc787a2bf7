// The register-tiled matrix product, and the packing of weights for it.
//
// Everything here is  C[i] = init[i] + sum over k of A[i][k] * B[k]  where the rows of A, init and C are given one
// pointer each (Operands): a time step's rows may be strided, packed or ragged, and the first step's come from h0.
//
// Every number of C is summed in the same order whatever the tile it falls into: chains of `block_depth` multiply-adds
// or fewer from zero, one added to C after the other. So results are the same to the last bit however rows and columns
// are shared out among threads; and short chains keep the rounding error down (one chain over 151 steps: ten times that
// of torch, see docs/adr/0003).
#pragma once
#include <string.h>

#include "factors.h"
#include "tiles.h"

namespace fastrnn::FASTRNN_TARGET {

constexpr int max_vectors = 4;  // columns of a tile, in registers

// A panel's 4 vectors x 128 are 32 KiB: with the rows of A and C for 96 rows, what the first two caches hold while the
// tiles of a block go by. (Blocks of 48 rows: a tenth slower where the weights are 16 MiB, no difference elsewhere.)
constexpr int64_t block_depth = 128, block_rows = 96;

// A block of columns of B, packed as [k][vector][lane] with `step` factors from one k to the next, and where each of
// its vectors goes in a row of C. The last vector may be partly outside: only `tail` of its lanes exist in C.
template <class T>
struct Panel {
  const Factor<T>* b;
  int64_t step;
  int vectors;
  int tail;
  int64_t column[max_vectors];
};

// Factor k of row i of A is a[i][a_offset + k * a_step]. The pointers are found once for all panels: finding them anew
// for each took 4 % of LSTM T128 B32 H128. No more than `chain` products are added up before they are added to C.
template <class T>
struct Operands {
  const Factor<T>* const* a;
  const T* const* init;
  T* const* c;
  int64_t a_offset = 0, a_step = 1, chain = block_depth;
};

// Tiles of at most this many rows do not prefetch: they wait for the weights anyway, and the instruction costs more
// than it saves. Packed once, LSTM T1 B4 and B8 H500 83 to 79 and 158 to 150 us; LSTM T10 B8 H256 429 to 419 (AMD EPYC,
// Zen 5). With 16 registers those of a batch have three rows: GRU T128 B32 H512 187 to 162 ms with it (Zen 3).
constexpr int waiting_rows = FASTRNN_REGISTERS < 32 ? 2 : 4;

// Nor does the only tile of a block, which could fetch a line of each row only: LSTM T10 B5 H512 1.24 to 1.18 ms.
FASTRNN_INLINE bool fetches(int64_t tiles) { return tiles > 1; }

// One tile's work: rows `top` … `top + rows - 1` of C over `depth` rows of the panel from `first` on. Meanwhile it
// fetches what will be needed next, `fetch_step` factors a row of the panel.
template <class T>
struct Tile {
  int64_t top;
  int rows;
  int64_t first, depth;
  const Factor<T>* fetch;
  int64_t fetch_step;
};

template <class T, int M, int N>
void multiply(const Panel<T>& panel, const Operands<T>& rows, const Tile<T>& tile) {
  using V = Vec<T>;
  typename V::Register sum[M][N] = {};
  const int64_t depth = tile.depth, a_step = rows.a_step, b_step = panel.step, fetch_step = tile.fetch_step;
  const Factor<T>* a[M];
  for (int i = 0; i < M; ++i) a[i] = rows.a[tile.top + i] + rows.a_offset + tile.first * a_step;
  const Factor<T>*b = panel.b + tile.first * b_step, *fetch = tile.fetch;
  for (int64_t k = 0, ka = 0; k < depth; ++k, ka += a_step, b += b_step, fetch += fetch_step) {
    typename V::Register row[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) row[j] = load_factors<T>(b + j * V::lanes).v;
    if constexpr (M > waiting_rows) __builtin_prefetch(fetch, 0, 2);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = Factors<T>::multiply_add(sum[i][j], a[i][ka], row[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    T* c = rows.c[tile.top + i];
    const T* before = tile.first ? c : rows.init[tile.top + i];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      int64_t column = panel.column[j];
      int n = j == N - 1 ? panel.tail : V::lanes;
      (V::load(before + column, n) + V(sum[i][j])).store(c + column, n);
    }
  }
}

// multiply() for the tile's number of rows and the panel's number of vectors.
template <class T, int N = max_vectors, int M = tile_rows(N)>
void multiply_any(const Panel<T>& panel, const Operands<T>& rows, const Tile<T>& tile) {
  if (panel.vectors != N) {
    if constexpr (N > 1) multiply_any<T, N - 1>(panel, rows, tile);
  } else if (tile.rows != M) {
    if constexpr (M > 1) multiply_any<T, N, M - 1>(panel, rows, tile);
  } else {
    multiply<T, M, N>(panel, rows, tile);
  }
}

// Memory that will be needed after a product: it is fetched in equal parts while the product's tiles go by.
template <class T>
struct Ahead {
  const Factor<T>* from = nullptr;
  int64_t numbers = 0;
};

// One panel's columns for rows 0 … count-1, over `depth` factors.
//
// While the tiles of a block of the panel go by, each fetches an equal part of the block after it: weights that come
// from the third-level cache arrive while there is work (see docs/adr/0003). Or of `ahead`, where that is given.
template <class T>
void product(const Panel<T>& panel, int64_t count, int64_t depth, const Operands<T>& rows, const Ahead<T>& ahead = {}) {
  Tile<T> tile;
  const int64_t blocks = divide_up(count, block_rows), depths = divide_up(depth, rows.chain);
  for (int64_t i = 0; i < blocks; ++i) {
    int64_t block = count * i / blocks, height = count * (i + 1) / blocks - block;
    int64_t tiles = divide_up(height, tile_rows(panel.vectors));
    for (int64_t d = 0; d < depths; ++d) {  // of nearly equal depth: 129 are 64 + 65, not 128 + 1
      tile.first = depth * d / depths, tile.depth = depth * (d + 1) / depths - tile.first;
      tile.fetch = panel.b + (tile.first + tile.depth) * panel.step;
      tile.fetch_step = fetches(tiles) ? divide_up(panel.vectors * Vec<T>::lanes, tiles) : 0;
      if (ahead.from) {
        const int64_t part = i * depths + d, parts = blocks * depths;
        tile.fetch = ahead.from + ahead.numbers * part / parts;
        tile.fetch_step = divide_up(ahead.numbers, parts * tiles * tile.depth);
      }
      for (int64_t n = 0; n < tiles; ++n) {  // of nearly equal height: 8 rows are 4 + 4, not 6 + 2
        tile.top = block + height * n / tiles;
        tile.rows = int(block + height * (n + 1) / tiles - tile.top);
        multiply_any(panel, rows, tile);
        tile.fetch += tile.depth * tile.fetch_step;
      }
    }
  }
}

// A square of a panel from a square of a matrix: packed[i][lane] = factor i of rows[lane], which have `count` numbers.
// All loops have fixed bounds, so that the square stays in registers.
template <class T, class Weight>
FASTRNN_INLINE void pack_square(const Weight* rows, int64_t leading, int n, int count, Factor<T>* packed,
                                int64_t step) {
  constexpr int lanes = Vec<T>::lanes;
  typename Vec<T>::Register square[lanes];
#pragma GCC unroll 16
  for (int lane = 0; lane < lanes; ++lane)
    square[lane] = Factors<T>::along(rows + (lane < n ? lane : n - 1) * leading, count).v;
  transpose<T>(square);
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i)
    if (i * Factors<T>::numbers < count) store_factors<T>(packed + i * step, square[i]);
}

// A panel's vector of columns from n rows of a matrix: packed[k][lane] = factor k of rows[lane], which have `depth`
// numbers. Lanes beyond n repeat the last.
template <class T, class Weight>
void pack_transposed(const Weight* rows, int64_t leading, int n, int64_t depth, Factor<T>* packed, int64_t step) {
  constexpr int lanes = Vec<T>::lanes, numbers = lanes * Factors<T>::numbers;
  int64_t k = 0;
  for (; k + numbers <= depth; k += numbers, packed += lanes * step)
    pack_square<T>(rows + k, leading, n, numbers, packed, step);
  if (k < depth) pack_square<T>(rows + k, leading, n, int(depth - k), packed, step);
}

// A panel's columns from columns of a matrix, whose row k is row(k) and has n numbers: packed[k][lane] are their
// factors, zero from n up to `width`.
template <class T, class Row>
void pack_columns(Row row, int64_t n, int64_t depth, Factor<T>* packed, int64_t width) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t k = 0; k < factors_in<T>(depth); ++k)
    for (int64_t j = 0; j < width; j += lanes) {
      int left = int(smaller(lanes, n - j));
      store_factors<T>(packed + k * width + j, left > 0 ? Factors<T>::across(row, k, depth, j, left) : Vec<T>{});
    }
}

}  // namespace fastrnn::FASTRNN_TARGET
