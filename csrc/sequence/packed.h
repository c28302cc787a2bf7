// Weight matrices that are packed once and for all, for inference: the same bytes for every instruction set, so that
// they can be made and undone by reshaping (fastrnn/quantization/layout.py).
//
// A matrix of `gates` blocks of rows, each (outputs, depth), is cut into blocks of 16 outputs with all their gates, one
// block after the other:
//
//   [depth / g][gate][16 outputs][g numbers along the depth]      g numbers are 4 bytes: 1 float32, 2 bfloat16, 4 int8
//
// Outputs are padded to 16 and the depth to g, with zeros. So 64 bytes hold g numbers of each of 16 outputs of a gate:
// what one instruction multiplies by g numbers of a row (a multiply-add, vdpbf16ps, vpdpbusd).
//
// With several heads (heads.h) a block has the groups of its outputs' heads alone, and an output has zeros in those of
// other heads. Each block has as many as the one that needs most; where a row would end before them they begin earlier.
//
// Of int8, each block ends with the scales of its rows, [gate][16] float32 (a weight is its number times the scale of
// its row), and the sums of the numbers of each row, [gate][16] int32.
#pragma once
#include "heads.h"
#include "problem.h"

namespace fastrnn {

// Everything here is always inlined: files of several instruction sets include it (see cpu/vec.h).
constexpr int64_t block_outputs = 16, group_bytes = 4;

// Sums of products of int8 are exact in 32 bits up to this depth: 255 * 127 * 65536 < 2^31, of numbers of 8 bits.
constexpr int64_t deepest_int8 = 65536;

[[gnu::always_inline]] constexpr bool is_packed(WeightFormat format) { return format >= WeightFormat::packed_float32; }

// g: numbers in 4 bytes.
[[gnu::always_inline]] constexpr int64_t group_size(WeightFormat format) {
  return format == WeightFormat::packed_int8 ? 4 : format == WeightFormat::packed_bfloat16 ? 2 : 1;
}

struct PackedSizes {
  int64_t groups;  // of a row in a block: all of them with one head
  int64_t group;   // bytes from one group of a row to the next: all gates of 16 outputs
  int64_t block;   // bytes of a block
  int64_t matrix;  // bytes of all
  Heads heads;
  int64_t numbers, last_first;  // of a group; the last that a block's groups may begin with

  // The groups that a block of outputs, from `output` on, is multiplied by begin with this one.
  [[gnu::always_inline]] constexpr int64_t first_group(int64_t output) const {
    if (heads.count == 1) return 0;
    const int64_t first = heads.begin(output / block_outputs * block_outputs) / numbers;
    return first < last_first ? first : last_first;
  }
};

[[gnu::always_inline]] constexpr PackedSizes packed_sizes(WeightFormat format, int64_t gates, int64_t outputs,
                                                          int64_t depth, int64_t heads = 1) {
  const int64_t numbers = group_size(format), all = (depth + numbers - 1) / numbers;
  const Heads of{heads, outputs / heads, depth / heads};
  int64_t groups = heads == 1 ? all : 0;
  for (int64_t first = 0; heads > 1 && first < outputs; first += block_outputs) {
    const int64_t last = first + block_outputs < outputs ? first + block_outputs - 1 : outputs - 1;
    const int64_t of_block = (of.end(last) + numbers - 1) / numbers - of.begin(first) / numbers;
    groups = groups < of_block ? of_block : groups;
  }
  const int64_t group = gates * block_outputs * group_bytes;
  const int64_t block = group * (groups + (format == WeightFormat::packed_int8 ? 2 : 0));
  const int64_t matrix = block * ((outputs + block_outputs - 1) / block_outputs);
  return {groups, group, block, matrix, of, numbers, all - groups};
}

}  // namespace fastrnn
