// Products with int8 weights, compiled for one instruction set (see int8.h).
//
// 64 bytes hold 4 numbers of the depth for each of 16 outputs. With VNNI (FASTRNN_VNNI) one instruction multiplies them
// by 4 numbers of a row of activations, which are unsigned, and adds up. Elsewhere pmaddwd does half of it, on numbers
// 0 and 2 and then 1 and 3 of each output, widened to 16 bits by shifts; rows of activations are stored as such pairs.
#pragma once
#if FASTRNN_VNNI || defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../sequence/packed.h"
#include "int8.h"
#include "tiles.h"

#define FASTRNN_STRING_(x) #x
#define FASTRNN_STRING(x) FASTRNN_STRING_(x)

namespace fastrnn::FASTRNN_TARGET {

typedef int32_t Ints __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
typedef int32_t IntsInMemory __attribute__((vector_size(FASTRNN_VECTOR_BYTES), aligned(1), may_alias));
typedef int32_t OneInMemory __attribute__((aligned(1), may_alias));
typedef int16_t Halves __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));

#if FASTRNN_VNNI
constexpr int64_t bytes_of_group = 4;
#else
constexpr int64_t bytes_of_group = 8;
#endif

// x, not fused into a multiply-add, which would round once less on some machines than on others.
template <class Register>
FASTRNN_INLINE Register rounded(Register x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#else
  asm("" : "+w"(x));
#endif
  return x;
}

// Four products of each lane, of the numbers of a group.
struct Group {
#if FASTRNN_VNNI
  Ints both;
  explicit FASTRNN_INLINE Group(const char* p) : both(*reinterpret_cast<const IntsInMemory*>(p)) {}
  FASTRNN_INLINE Ints add(Ints sum, const char* a) const {
    const Ints row = Ints{} + *reinterpret_cast<const OneInMemory*>(a);
#if FASTRNN_VECTOR_BYTES == 64
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)row, (__m512i)both);
#else
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)row, (__m256i)both);
#endif
  }
#else
  Halves even, odd;
  explicit FASTRNN_INLINE Group(const char* p) {
    const Halves numbers = (Halves)Ints(*reinterpret_cast<const IntsInMemory*>(p));
    even = numbers << 8 >> 8, odd = numbers >> 8;
  }
  FASTRNN_INLINE Ints add(Ints sum, const char* a) const {
    const auto* row = reinterpret_cast<const OneInMemory*>(a);
    return sum + (pairs((Ints)even, Ints{} + row[0]) + pairs((Ints)odd, Ints{} + row[1]));
  }
  static FASTRNN_INLINE Ints pairs(Ints a, Ints b) {
#if FASTRNN_VECTOR_BYTES == 64
    return (Ints)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif FASTRNN_VECTOR_BYTES == 32
    return (Ints)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (Ints)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
    return ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
  }
#endif
};

inline int64_t row_bytes(int64_t depth) {
  const int64_t groups = (depth + 3) / 4;
  return (groups * bytes_of_group + 63) / 64 * 64;
}

// Stores vector `place` of a row's numbers.
FASTRNN_INLINE void store_rounded(char* row, int64_t place, Ints q) {
  constexpr int lanes = Vec<float>::lanes;
#if FASTRNN_VNNI
  typedef int8_t Bytes __attribute__((vector_size(lanes)));
  const Bytes bytes = __builtin_convertvector(q, Bytes);
  __builtin_memcpy(row + place * lanes, &bytes, lanes);
#else
  Ints first, second;
  for (int i = 0; i < lanes; ++i) first[i] = i / 2 * 4 % lanes + i % 2, second[i] = first[i] + 2;
  const Ints pairs = (__builtin_shuffle(q, first) & 0xffff) | __builtin_shuffle(q, second) << 16;
  __builtin_memcpy(row + place * 2 * lanes, &pairs, 2 * lanes);
#endif
}

FASTRNN_INLINE int32_t largest_lane(Ints x) {
  constexpr int lanes = Vec<float>::lanes;
#pragma GCC unroll 4
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    Ints other;
    for (int lane = 0; lane < lanes; ++lane) other[lane] = lane ^ distance;
    const Ints across = __builtin_shuffle(x, other);
    x = across > x ? across : x;
  }
  return x[0];
}

// The bits of a float as an integer in the same order, NaN below or above all others; and back.
template <class Integers>
FASTRNN_INLINE Integers in_order(Integers bits) {
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

inline void round_row(const float* row, int64_t depth, const Int8Rows& to, int64_t i) {
  using V = Vec<float>;
  constexpr int lanes = V::lanes;
  constexpr int32_t infinity = 0x7f800000;
  const int64_t whole = depth / lanes * lanes;
  Ints most = Ints{} + INT32_MIN, least = Ints{} + INT32_MAX;
  auto look = [&](V x) __attribute__((always_inline)) {
    const Ints number = in_order((Ints)x.v);
    most = number > most ? number : most, least = number < least ? number : least;
  };
  for (int64_t k = 0; k < whole; k += lanes) look(V::load(row + k));
  if (whole < depth) {  // the row ends within a register, which goes on with its last number
    float end[lanes];
    for (int lane = 0; lane < lanes; ++lane) end[lane] = row[whole + lane < depth ? whole + lane : depth - 1];
    look(V::load(end));
  }
  const int32_t top_bits = in_order(largest_lane(most)), bottom_bits = in_order(~largest_lane(~least));
  float top, bottom;
  __builtin_memcpy(&top, &top_bits, sizeof top), __builtin_memcpy(&bottom, &bottom_bits, sizeof bottom);
  char* const numbers = to.numbers + i * to.row_bytes;
  const bool finite = (top_bits & infinity) != infinity && (bottom_bits & infinity) != infinity;
  // Halves: the range may be beyond float32, and so may 128 steps of it.
  const float half_bottom = rounded(bottom * 0.5f), half = rounded(top * 0.5f) - half_bottom;
  if (!finite || half < 1e-36f) {  // 255 / half would be infinite
    __builtin_memset(numbers, 0, to.row_bytes);
    to.scale[i] = finite ? 0 : __builtin_nanf("");
    to.middle[i] = finite ? bottom : __builtin_nanf("");
    return;
  }
  const float scale = half / 127.5f, inverse = 255 / half;
  to.scale[i] = scale, to.middle[i] = (half_bottom + scale * 64) * 2;
  constexpr float to_integer = 0x1.8p23f;  // adding it rounds to an integer, in the low bits
  for (int64_t k = 0; k < depth; k += lanes) {
    const auto half_above = rounded(V::load(row + k, int(depth - k)).v * 0.5f) - half_bottom;
    const auto shifted = rounded(half_above * inverse) + to_integer;
    store_rounded(numbers, k / lanes, (Ints)shifted - (Ints)(V::Register{} + to_integer));
  }
}

FASTRNN_INLINE Vec<float>::Register as_floats(Ints x) { return __builtin_convertvector(x, Vec<float>::Register); }

template <int gates, int N, int M>
void multiply_int8(const PackedPanel& panel, int64_t top, const Int8Rows& rows, const float* const* init,
                   float* const* c) {
  using V = Vec<float>;
  constexpr int64_t gate_bytes = block_outputs * group_bytes;
  Ints sum[M][N][gates] = {};
  const char *a[M], *b[N];
  for (int i = 0; i < M; ++i) a[i] = rows.numbers + (top + i) * rows.row_bytes + panel.first * bytes_of_group;
  for (int j = 0; j < N; ++j) b[j] = panel.b[j];
  const int64_t groups = (panel.depth + 3) / 4, step = panel.step;
  for (int64_t k = 0; k < groups; ++k) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) {
        const Group w(b[j] + g * gate_bytes);
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) sum[i][j][g] = w.add(sum[i][j][g], a[i] + k * bytes_of_group);
      }
      b[j] += step;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    const float scale = rows.scale[top + i], middle = rows.middle[top + i];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) {
        const int64_t column = panel.columns[g] + j * V::lanes;
        const int n = j == N - 1 ? panel.tail : V::lanes;
        const auto* after = reinterpret_cast<const float*>(b[j] + g * gate_bytes);
        const Ints weights = *reinterpret_cast<const IntsInMemory*>(b[j] + step + g * gate_bytes);
        const auto scales = V::load(after).v;
        const auto varying = rounded(as_floats(sum[i][j][g] - (weights << 7)) * rounded(scales * scale));
        const auto product = varying + rounded(as_floats(weights) * rounded(scales * middle));
        (V::load(init[top + i] + column, n) + V(product)).store(c[top + i] + column, n);
      }
    }
  }
}

template <int gates>
void multiply_gates(const PackedPanel& panel, int64_t count, const Int8Rows& rows, const float* const* init,
                    float* const* c) {
  if (panel.gates != gates) {
    if constexpr (gates > 1) multiply_gates<gates - 1>(panel, count, rows, init, c);
    return;
  }
  const int64_t height = tile_rows(panel.outputs * gates), tiles = (count + height - 1) / height;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t top = count * t / tiles;
    run_tile<gates, most_outputs / gates>(panel.outputs, count * (t + 1) / tiles - top, [&]<int N, int M>() {
      multiply_int8<gates, N, M>(panel, top, rows, init, c);
    });
  }
}

extern const Int8Products products_of_int8;
const Int8Products products_of_int8 = {FASTRNN_STRING(FASTRNN_TARGET), row_bytes, round_row, multiply_gates<4>};

}  // namespace fastrnn::FASTRNN_TARGET
