// Products with int8 weights, compiled for one instruction set (see int8.h).
//
// 64 bytes hold 4 numbers of the depth for each of 16 outputs. With VNNI (FASTRNN_VNNI) one instruction multiplies them
// by 4 numbers of a row of activations and adds up. Elsewhere pmaddwd does half of it, on numbers 0 and 2 and then 1
// and 3 of each output, widened to 16 bits by a mask and a shift; rows of activations are stored as such pairs.
#pragma once
#if FASTRNN_VNNI || defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../sequence/packed.h"
#include "int8.h"
#include "vec.h"

#define FASTRNN_STRING_(x) #x
#define FASTRNN_STRING(x) FASTRNN_STRING_(x)

namespace fastrnn::FASTRNN_TARGET {

typedef int32_t Ints __attribute__((vector_size(FASTRNN_VECTOR_BYTES)));
typedef int32_t IntsInMemory __attribute__((vector_size(FASTRNN_VECTOR_BYTES), aligned(1), may_alias));
typedef int32_t OneInMemory __attribute__((aligned(1), may_alias));

#if FASTRNN_VNNI
constexpr int64_t bytes_of_group = 4;
#else
constexpr int64_t bytes_of_group = 8;
#endif

// x, without being fused into a multiply-add, which would round once less on some machines than on others.
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
    return (Ints)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)both, (__m512i)row);
#else
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)both, (__m256i)row);
#endif
  }
#else
  Ints even, odd;
  explicit FASTRNN_INLINE Group(const char* p) {
    const Ints numbers = *reinterpret_cast<const IntsInMemory*>(p);
    even = numbers & 0x00ff00ff, odd = (numbers >> 8) & 0x00ff00ff;
  }
  FASTRNN_INLINE Ints add(Ints sum, const char* a) const {
    const auto* row = reinterpret_cast<const OneInMemory*>(a);
    return sum + (pairs(even, Ints{} + row[0]) + pairs(odd, Ints{} + row[1]));
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

inline void round_row(const float* row, int64_t depth, const Int8Rows& to, int64_t i) {
  using V = Vec<float>;
  constexpr int lanes = V::lanes;
  constexpr int32_t infinity = 0x7f800000;
  Ints largest{};  // of the magnitudes, as bits: in the same order, and NaN is the largest
  for (int64_t k = 0; k < depth; k += lanes) {
    const Ints bits = (Ints)absolute<float>(V::load(row + k, int(depth - k)).v);
    largest = bits > largest ? bits : largest;
  }
  int32_t most = 0;
  for (int lane = 0; lane < lanes; ++lane) most = largest[lane] > most ? largest[lane] : most;
  float magnitude;
  __builtin_memcpy(&magnitude, &most, sizeof magnitude);
  char* const numbers = to.numbers + i * to.row_bytes;
  to.offset[i] = 0;
  if (most >= infinity || magnitude < 1e-36f) {  // 127 / magnitude would be infinite; the product counts for nothing
    __builtin_memset(numbers, 0, to.row_bytes);
    to.scale[i] = most >= infinity ? __builtin_nanf("") : 0;
    return;
  }
  to.scale[i] = magnitude / 127;
  const float inverse = 127 / magnitude;
  constexpr float to_integer = 0x1.8p23f;  // adding it rounds to an integer, in the low bits
  Ints sum{};
  for (int64_t k = 0; k < depth; k += lanes) {
    const auto shifted = rounded(V::load(row + k, int(depth - k)).v * inverse) + to_integer;
    const Ints q = (Ints)shifted - (Ints)(V::Register{} + to_integer);
    sum += q;
    store_rounded(numbers, k / lanes, q);
  }
  for (int lane = 0; lane < lanes; ++lane) to.offset[i] += sum[lane];
  to.offset[i] *= 128;
}

template <int gates, int N, int M>
void multiply_int8(const PackedPanel& panel, int64_t top, const Int8Rows& rows, const float* const* init,
                   float* const* c) {
  using V = Vec<float>;
  constexpr int64_t gate_bytes = block_outputs * group_bytes;
  Ints sum[M][N][gates] = {};
  const char *a[M], *b[N];
  for (int i = 0; i < M; ++i) a[i] = rows.numbers + (top + i) * rows.row_bytes;
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
    const float scale = rows.scale[top + i];
    const int32_t offset = rows.offset[top + i];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
#pragma GCC unroll 4
      for (int g = 0; g < gates; ++g) {
        const int64_t column = panel.columns[g] + j * V::lanes;
        const int n = j == N - 1 ? panel.tail : V::lanes;
        const auto scales = rounded(V::load(reinterpret_cast<const float*>(b[j] + g * gate_bytes)).v * scale);
        const auto product = rounded(__builtin_convertvector(sum[i][j][g] - offset, V::Register) * scales);
        (V::load(init[top + i] + column, n) + V(product)).store(c[top + i] + column, n);
      }
    }
  }
}

// Accumulators as many as registers, less a vector of weights and one of activations.
constexpr int int8_rows(int vectors) {
  constexpr int registers = FASTRNN_REGISTERS;
  const int rows = (registers - 2) / vectors - 1;
  return rows > 8 ? 8 : rows;
}

template <int gates, int N, int M = int8_rows(N * gates)>
void multiply_int8_any(const PackedPanel& panel, int64_t top, int count, const Int8Rows& rows, const float* const* init,
                       float* const* c) {
  if (panel.outputs != N || M == 0) {
    if constexpr (N > 1) multiply_int8_any<gates, N / 2>(panel, top, count, rows, init, c);
  } else if (count != M) {
    if constexpr (M > 1) multiply_int8_any<gates, N, M - 1>(panel, top, count, rows, init, c);
  } else if constexpr (M > 0) {
    multiply_int8<gates, N, M>(panel, top, rows, init, c);
  }
}

template <int gates>
void multiply_gates(const PackedPanel& panel, int64_t count, const Int8Rows& rows, const float* const* init,
                    float* const* c) {
  if (panel.gates != gates) {
    if constexpr (gates > 1) multiply_gates<gates - 1>(panel, count, rows, init, c);
    return;
  }
  const int64_t tiles = (count + int8_rows(panel.outputs * gates) - 1) / int8_rows(panel.outputs * gates);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t top = count * t / tiles;
    multiply_int8_any<gates, 8 / gates>(panel, top, int(count * (t + 1) / tiles - top), rows, init, c);
  }
}

extern const Int8Products products_of_int8;
const Int8Products products_of_int8 = {FASTRNN_STRING(FASTRNN_TARGET), row_bytes, round_row, multiply_gates<4>};

}  // namespace fastrnn::FASTRNN_TARGET
