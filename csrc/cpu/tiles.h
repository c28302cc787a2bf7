// The register tile of a product: as many sums as there are registers for, and code for every size of it.
#pragma once
#include "vec.h"

namespace fastrnn::FASTRNN_TARGET {

// Rows of a tile. With 32 registers: as many as leave room for a row of B and a broadcast of A beside the sums. With 16
// that would be two rows of four vectors, whose sums wait for each other: there are 12 sums instead, and some of B's
// vectors are read again from the first-level cache. 2 x 4 56 GFLOP/s, 3 x 4 77; 3 x 3 72, 4 x 3 78 (AMD EPYC, Zen 3).
// Not where B is `widened` in registers: 12 sums would take turns in memory, half as fast.
constexpr int tile_rows(int vectors, bool widened = false) {
  constexpr int registers = FASTRNN_REGISTERS;
  int rows = registers < 32 && !widened ? 12 / vectors : (registers - 2) / vectors - 1;
  return rows > 8 ? 8 : rows < 1 ? 1 : rows;
}

// Calls run<n, m>() for n = `outputs`, a power of two of at most N, each of `gates` vectors, and m = `rows`, of at most
// tile_rows(n * gates, widened).
template <int gates, int N, bool widened = false, int M = tile_rows(N * gates, widened), class Run>
FASTRNN_INLINE void run_tile(int outputs, int64_t rows, Run run) {
  if (outputs != N) {
    if constexpr (N > 1) run_tile<gates, N / 2, widened>(outputs, rows, run);
  } else if (rows != M) {
    if constexpr (M > 1) run_tile<gates, N, widened, M - 1>(outputs, rows, run);
  } else {
    run.template operator()<N, M>();
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
