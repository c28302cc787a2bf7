// Products with weights that were packed once and for all (../sequence/packed.h): the register tiles of matmul.h on
// panels that need no packing, whatever the vectors of the instruction set.
//
// float32 weights give the bits that packing for every call gives: the same chains, added up in the same order.
// bfloat16 weights are widened in registers, two numbers of the depth from one load. Where rows are rounded to bfloat16
// (kernels_avx512_bf16.cpp), a group is a factor and is multiplied as it is. With int8 weights the rows are rounded
// too, and int8.h multiplies. How many rows there are decides no bit of any.
#pragma once
#include "../sequence/packed.h"
#include "int8.h"
#include "weights.h"

namespace fastrnn::FASTRNN_TARGET {

// The factors of a group, of 4 bytes for each output: widened<e> is factor e.
struct WholeGroups {
  static constexpr int group = 1;
  static constexpr bool widens = false;
  template <int e>
  static FASTRNN_INLINE Floats widened(Floats w) {
    return w;
  }
};
struct WidenedPairs {
  static constexpr int group = 2;
  static constexpr bool widens = true;
  template <int e>
  static FASTRNN_INLINE Floats widened(Floats w) {
    return Floats(e ? Bits(w) & 0xffff0000 : Bits(w) << 16);
  }
};

// As waiting_rows of matmul.h. With 16 registers a panel is half of a block as wide as its lines, which the other half
// has brought: with fetching LSTM T10 B3 and T20 B64 H512 took 8 and 5 % longer (AMD EPYC, Zen 3).
constexpr int packed_waiting_rows = 4;

// One tile's work, as in matmul.h: `first` and `groups` count groups, `fetch` is in bytes.
struct PackedTile {
  int64_t top;
  int rows;
  int64_t first, groups;
  const char* fetch;
  int64_t fetch_step;
};

template <class Format, int gates, int N, int M>
void multiply_packed(const PackedPanel& panel, const Operands<float>& rows, const PackedTile& tile) {
  using V = Vec<float>;
  constexpr int group = Format::group;
  Floats sum[M][N][gates] = {};
  const Factor<float>* a[M];
  for (int i = 0; i < M; ++i) a[i] = rows.a[tile.top + i] + rows.a_offset;
  const char *b[N], *fetch = tile.fetch;
  for (int j = 0; j < N; ++j) b[j] = panel.b[j] + tile.first * panel.step;
  const int64_t step = panel.step, fetch_step = tile.fetch_step;
  const int64_t end = smaller((tile.first + tile.groups) * group, factors_in<float>(panel.depth));
  int64_t k = tile.first * group;
  auto add = [&]<int e>() __attribute__((always_inline)) {
    Floats w[N][gates];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) {
        auto* lanes = reinterpret_cast<const float*>(b[j] + g * block_outputs * group_bytes);
        w[j][g] = Format::template widened<e>(V::load(lanes).v);
      }
    }
    // Number by number of A: with the gates outside gcc keeps all of A's numbers in registers and, of GRU, a sum in
    // memory (8 rows: 190 instead of 225 GFLOP/s).
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
        for (int g = 0; g < gates; ++g) sum[i][j][g] = Factors<float>::multiply_add(sum[i][j][g], a[i][k + e], w[j][g]);
      }
    }
  };
  for (; k + group <= end; k += group) {
    if constexpr (M > packed_waiting_rows) __builtin_prefetch(fetch, 0, 2), fetch += fetch_step;
    add.template operator()<0>();
    if constexpr (group > 1) add.template operator()<1>();
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) b[j] += step;
  }
  if (group > 1 && k < end) add.template operator()<0>();  // the rest is padding, where a row of A has nothing
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    float* c = rows.c[tile.top + i];
    const float* before = tile.first ? c : rows.init[tile.top + i];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) {
        const int64_t column = panel.columns[g] + j * V::lanes;
        const int n = j == N - 1 ? panel.tail : V::lanes;
        (V::load(before + column, n) + V(sum[i][j][g])).store(c + column, n);
      }
    }
  }
}

// C[i] = init[i] + A[i] · Wᵀ as GateWeights (weights.h) does it, for weights that are packed.
template <int gates>
class PackedWeights {
  using V = Vec<float>;
  static constexpr int many = max_vectors / gates, few = 2 * many;

 public:
  // `rows`: the most that are multiplied at a time. With several heads each gate's matrix is block diagonal.
  PackedWeights(const Plan& plan, const Weights<float>& weight, int64_t outputs, int64_t depth, const int* slots,
                int64_t width, int64_t rows, int64_t heads)
      : plan(plan), weight(weight), sizes(packed_sizes(weight.format, gates, outputs, depth, heads)), outputs(outputs),
        depth(depth), width(width), slots(slots), vectors(divide_up(outputs, V::lanes)),
        most_rows(weight.format == WeightFormat::packed_int8 && weight ? rows : 0),
        row_bytes(most_rows ? int8_products().row_bytes(depth) : 0), numbers(plan.threads * most_rows * row_bytes),
        scales(plan.threads * most_rows), middles(plan.threads * most_rows) {}

  // Vectors of outputs in a panel. More of them for few rows: the chains of few multiply-adds wait for each other.
  FASTRNN_INLINE int units(int64_t count) const {
    return count <= tile_rows(few * gates, weight.format == WeightFormat::packed_bfloat16) ? few : many;
  }

  template <class Then>
  void times(const Team& team, Range mine, int64_t count, bool exact, bool from_end, const Operands<float>& rows,
             Then then) const {
    // No units: of a team that was dissolved, and others write the rows meanwhile. No rows: all of this thread's ended.
    if (mine.begin == mine.end || !count) return;
    Int8Rows rounded{};
    if constexpr (!rounds_factors<float>)
      if (weight.format == WeightFormat::packed_int8) rounded = round(team, count, rows.a);
    sweep(team, plan.by_rows, vectors, mine, units(count), from_end, [&](int64_t v, int n) {
      for (const int64_t end = v + n; v < end; v += n) {
        for (n = few; v + n > end || !one_window(v, n);) n /= 2;
        product(v, n, count, exact, rows, rounded);
        then(Range{v, v + n});
      }
    });
  }

 private:
  // Each thread rounds all the rows that it multiplies: that is fewer numbers by far than its weights.
  Int8Rows round(const Team& team, int64_t count, const float* const* a) const {
    const int64_t first = team.rank * most_rows;
    const Int8Rows to{numbers + first * row_bytes, row_bytes, scales + first, middles + first};
    for (int64_t i = 0; i < count; ++i) int8_products().round(a[i], depth, to, i);
    return to;
  }

  // Whether n vectors of outputs are multiplied by the same groups.
  FASTRNN_INLINE bool one_window(int64_t v, int64_t n) const {
    return sizes.first_group(v * V::lanes) == sizes.first_group((v + n - 1) * V::lanes);
  }

  void product(int64_t v, int n, int64_t count, bool exact, const Operands<float>& rows,
               const Int8Rows& rounded) const {
    int64_t columns[gates];
    for (int g = 0; g < gates; ++g) columns[g] = slots[g] * width + v * V::lanes;
    const int tail = exact ? int(smaller(V::lanes, outputs - (v + n - 1) * V::lanes)) : V::lanes;
    const int64_t first = sizes.first_group(v * V::lanes);
    const int64_t numbers = smaller(sizes.groups * sizes.numbers, depth - first * sizes.numbers);
    PackedPanel panel{{}, sizes.group, first, numbers, gates, n, columns, tail};
    for (int j = 0; j < n; ++j) {
      const int64_t output = (v + j) * V::lanes;
      panel.b[j] = static_cast<const char*>(weight.data) + output / block_outputs * sizes.block +
                   output % block_outputs * group_bytes;
    }
    if (weight.format == WeightFormat::packed_int8)
      return int8_products().multiply(panel, count, rounded, rows.init, rows.c);
    if constexpr (!rounds_factors<float>)
      if (weight.format == WeightFormat::packed_bfloat16) return tiles<WidenedPairs>(n, panel, count, rows);
    tiles<WholeGroups>(n, panel, count, rows);
  }

  // Calls run(first, groups) for each chain of a panel's groups.
  template <class Run>
  FASTRNN_INLINE void chains(const PackedPanel& panel, int64_t longest, Run run) const {
    const int64_t groups = sizes.groups, parts = divide_up(groups, longest);
    if (sizes.heads.count == 1) {
      for (int64_t d = 0; d < parts; ++d) run(groups * d / parts, groups * (d + 1) / parts - groups * d / parts);
    } else {
      each_chain(sizes.heads, sizes.numbers, {panel.first, panel.first + groups}, longest,
                 [&](Range chain) { run(chain.begin - panel.first, chain.size()); });
    }
  }

  // As product() of matmul.h.
  template <class Format>
  void tiles(int n, const PackedPanel& panel, int64_t count, const Operands<float>& rows) const {
    PackedTile tile;
    const Operands<float> operands{rows.a, rows.init, rows.c, panel.first * Format::group};
    const int64_t blocks = divide_up(count, block_rows);
    for (int64_t i = 0; i < blocks; ++i) {
      const int64_t block = count * i / blocks, height = count * (i + 1) / blocks - block;
      const int64_t tiles = divide_up(height, tile_rows(n * gates, Format::widens));
      chains(panel, rows.chain / Format::group, [&](int64_t first, int64_t groups) {
        tile.first = first, tile.groups = groups;
        tile.fetch = panel.b[0] + (first + groups) * panel.step;
        tile.fetch_step = fetches(tiles) ? divide_up(panel.step, tiles) : 0;
        for (int64_t t = 0; t < tiles; ++t) {
          tile.top = block + height * t / tiles;
          tile.rows = int(block + height * (t + 1) / tiles - tile.top);
          run_tile<gates, few, Format::widens>(
              n, tile.rows, [&]<int N, int M>() { multiply_packed<Format, gates, N, M>(panel, operands, tile); });
          tile.fetch += groups * tile.fetch_step;
        }
      });
    }
  }

  const Plan& plan;
  const Weights<float> weight;
  const PackedSizes sizes;
  const int64_t outputs, depth, width;
  const int* slots;
  const int64_t vectors;
  const int64_t most_rows, row_bytes;  // of int8
  Buffer<char> numbers;
  Buffer<float> scales, middles;
};

// The weights of a forward pass, packed for each call or once and for all.
template <class T, int gates>
class ForwardWeights {
 public:
  ForwardWeights(const Plan& plan, Packing packing, const Weights<T>& weight, int64_t outputs, int64_t depth,
                 const int* slots, int64_t width, int64_t rows, int64_t heads = 1)
      : plain(plan, packing, is_packed(weight.format) ? Weights<T>{} : weight, outputs, depth, slots, width, heads),
        kept(plan, {weight.data, weight.format}, outputs, depth, slots, width, rows, heads),
        is_kept(is_packed(weight.format)) {}

  void pack(const Team& team) { plain.pack(team); }

  // Vectors of outputs in a panel.
  FASTRNN_INLINE int units(int64_t count) const { return is_kept ? kept.units(count) : plain.units; }

  template <class Then>
  void times(const Team& team, Range mine, int64_t count, bool exact, bool from_end, const Operands<T>& rows,
             Then then) const {
    if constexpr (sizeof(T) == sizeof(float))
      if (is_kept) return kept.times(team, mine, count, exact, from_end, rows, then);
    plain.times(team, mine, count, exact, from_end, rows, then);
  }

 private:
  GateWeights<T, gates> plain;
  PackedWeights<gates> kept;
  const bool is_kept;
};

}  // namespace fastrnn::FASTRNN_TARGET
