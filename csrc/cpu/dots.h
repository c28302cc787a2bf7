// A few rows times weights that are read where they lie: A · Wᵀ as dot products, without packing.
//
// Packing costs about as much as multiplying eight rows. Here some rows of W and some of A go along their depth
// together, a register of partial sums for each pair, so that a register that was loaded is used several times. The
// lanes are added up at the end, for as many outputs at a time as a register has lanes.
//
// Every number is summed in the same order, whatever the tile it falls into and whatever other rows there are: lane l
// adds up the products l, l + lanes, l + 2 lanes …, then lanes whose numbers differ by 1 are added, by 2, by 4, by 8.
#pragma once
#include "matmul.h"

namespace fastrnn::FASTRNN_TARGET {

// Rows of W and of A in a tile: as many sums as leave room for what they are made of, and enough of them, if A is one
// row, to hide how long a multiply-add takes.
constexpr int most_tile_inputs = FASTRNN_REGISTERS == 32 ? 6 : 3;
template <class T>
constexpr int tile_outputs(int inputs) {
  const int wanted = inputs == 1 ? 8 : 4;
  return wanted < Vec<T>::lanes ? wanted : Vec<T>::lanes;
}

// Vectors of a row of W that are read one after the other if A is one row, which waits for the weights: both products
// of LSTM H 128 (512 KiB, second-level cache) 3.9 to 2.8 us, of H 256 (2 MiB) 18.3 to 15.9. For more rows: no
// difference.
constexpr int together = 4;

// The first thing of part i, where n things are divided into `parts`. There is mostly one part, and then no division,
// which takes as long as eight multiply-adds.
FASTRNN_INLINE int64_t cut(int64_t n, int64_t i, int64_t parts) { return parts == 1 ? n * i : n * i / parts; }

// A tile's work: rows of W from `w` on, `leading` numbers apart, of which n exist, from number `first` of each to
// `last`, times rows of A from number `offset` on. Meanwhile the rows of W from `fetch` on are fetched, unless it is
// null. They come from the third-level cache where there is work enough to hide it: LSTM T1 B4 H500 20 % faster. Fewer
// rows of A wait for the weights anyway.
template <class Weight>
struct DotTile {
  const Weight *w, *fetch;
  int64_t leading;
  int n;
  int64_t first, last, offset;
};

// The products of M rows of W and N of A, folded to a register for each row of A: row j's is folded[j * step]. Lanes of
// rows of W that do not exist hold nothing of value.
template <class T, int M, int N, class Weight>
FASTRNN_INLINE void multiply(const DotTile<Weight>& tile, const T* const* a, Vec<T>* folded, int64_t step) {
  using V = Vec<T>;
  const T* from[N];
  for (int j = 0; j < N; ++j) from[j] = a[j] + tile.offset;
  const Weight *row[M], *fetch = tile.fetch;
  const int64_t leading = tile.leading, last = tile.last;
  for (int i = 0; i < M; ++i) row[i] = tile.w + (i < tile.n ? i : tile.n - 1) * leading;
  V sum[N][M] = {};
  auto add = [&]<int vectors>(int64_t k, int count) __attribute__((always_inline)) {
    V input[vectors][N];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) input[v][j] = in_register(V::load(from[j] + k + v * V::lanes, count));
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        V weight = load_weights(row[i] + k + v * V::lanes, count);
        // Also where the row ends: else gcc multiplies where it loads, in one of two branches, and adds after both.
        if constexpr (N > 1 || vectors == 1) weight = in_register(weight);
        if constexpr (N > 2)
          if (fetch) __builtin_prefetch(fetch + i * leading + k);
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) sum[j][i] = sum[j][i] + weight * input[v][j];
      }
  };
  int64_t k = tile.first;
  if constexpr (N == 1)
    for (; k + together * V::lanes <= last; k += together * V::lanes) add.template operator()<together>(k, V::lanes);
  for (; k + V::lanes <= last; k += V::lanes) add.template operator()<1>(k, V::lanes);
  if (k < last) add.template operator()<1>(k, int(last - k));
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    fold_all<T, 1, M>(sum[j]);
    folded[j * step] = sum[j][0];
  }
}

// multiply() for N rows of A or fewer.
template <class T, int M, int N, class Weight>
FASTRNN_INLINE void multiply_any(int inputs, const DotTile<Weight>& tile, const T* const* a, Vec<T>* folded,
                                 int64_t step) {
  if (inputs == N) return multiply<T, M, N>(tile, a, folded, step);
  if constexpr (N > 1) multiply_any<T, M, N - 1>(inputs, tile, a, folded, step);
}

// dots() with tiles of M rows of W and N of A or fewer.
template <class T, int M, int N, class Weight>
void dots_by_tiles(const Weight* w, const Weight* next, int64_t leading, int n, int64_t depth, int64_t count,
                   const Operands<T>& rows, int64_t column, int stored) {
  using V = Vec<T>;
  constexpr int tiles = V::lanes / M;
  constexpr int64_t most = 8 * N;  // rows of A at a time, so that what is folded stays in the first-level cache
  V folded[most][tiles];
  const int64_t vectors = divide_up(depth, V::lanes), depths = divide_up(vectors, rows.chain);
  const int64_t blocks = divide_up(count, most);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t top = cut(count, block, blocks), height = cut(count, block + 1, blocks) - top;
    const int64_t groups = divide_up(height, N);
    for (int64_t d = 0; d < depths; ++d) {
      const int64_t first = cut(vectors, d, depths) * V::lanes, end = cut(vectors, d + 1, depths) * V::lanes;
      for (int i = 0; i < n; i += M) {
        const Weight* fetch = i + M < n ? w + (i + M) * leading : next;
        for (int64_t g = 0; g < groups; ++g) {  // of nearly equal height: 8 rows are 4 + 4, not 6 + 2
          const int64_t from = cut(height, g, groups), inputs = cut(height, g + 1, groups) - from;
          multiply_any<T, M, N>(int(inputs),
                                DotTile<Weight>{w + i * leading, g ? nullptr : fetch, leading, n - i, first,
                                                smaller(end, depth), rows.a_offset},
                                rows.a + top + from, &folded[from][i / M], tiles);
        }
      }
      for (int64_t i = 0; i < height; ++i) {
        V sum[tiles];
        for (int j = 0; j < tiles; ++j) sum[j] = j * M < n ? folded[i][j] : V{};
        fold_all<T, M, V::lanes>(sum);
        T* c = rows.c[top + i] + column;
        const T* before = d ? c : rows.init[top + i] + column;
        (V::load(before, stored) + sum[0]).store(c, stored);
      }
    }
  }
}

// C[i][column + j] = init[i][column + j] + A[i] · W_j for the n <= lanes rows of W from w on, `leading` numbers apart,
// and all `count` rows of A. `stored`: lanes that exist in C. `next`: the rows of W that are wanted after these.
template <class T, class Weight>
void dots(const Weight* w, const Weight* next, int64_t leading, int n, int64_t depth, int64_t count,
          const Operands<T>& rows, int64_t column, int stored) {
  constexpr int most = most_tile_inputs;
  if (count == 1)
    dots_by_tiles<T, tile_outputs<T>(1), 1>(w, next, leading, n, depth, count, rows, column, stored);
  else
    dots_by_tiles<T, tile_outputs<T>(most), most>(w, next, leading, n, depth, count, rows, column, stored);
}

}  // namespace fastrnn::FASTRNN_TARGET
