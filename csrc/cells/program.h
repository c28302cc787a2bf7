// The pointwise part of a cell that comes when the program runs: a list of instructions on rows of numbers.
//
// Python traces the step that a user wrote, derives its gradient and emits the list (fastrnn/_cell/bytecode.py);
// cpu/interpreter.h runs it. An instruction is a loop over a block of units, so what it costs to decode it is shared by
// hundreds of numbers.
#pragma once
#include <stdint.h>

namespace fastrnn {

// What an instruction computes from its operands a, b and c. Truth values are 1 and 0. The order is that of OPERATIONS
// in fastrnn/_cell/bytecode.py.
enum class Operation : int32_t {
  // of one operand
  copy,
  neg,
  exp,
  log,
  log1p,
  sqrt,
  abs,
  sign,
  sigmoid,
  tanh,
  relu,
  softplus,
  logsigmoid,
  normal_cdf,
  normal_density,
  sin,
  cos,
  negate_truth,
  power,  // a to the power k, a whole number
  clamp,  // to [k, l]
  // of two
  add,
  sub,
  mul,
  div,
  maximum,
  minimum,
  less,
  less_or_equal,
  equal,
  both,
  either,
  // of three
  where,           // a ? b : c
  multiply_add,    // a b + c
  multiply_sub,    // a b - c
  sub_multiplied,  // c - a b
  // over the units of a row
  mean,             // of a
  mean_of_product,  // of a b
  // with a matrix of the cell, that of number k, which the loop multiplies by
  matrix_product,
  count
};

// Operands and results are places: first the inputs, then the outputs, the temporaries, the rows and the numbers.
//
//   temporaries  a block of units, used between two cuts
//   rows         a number for each unit, which is read beyond a cut too; what matrices multiply, and their products
//   numbers      one for a row: a mean, and what is computed of means
//
// An operand `constant` is the number k; of `where` k for b and l for c. A number can be an operand where a constant
// can, and as b of the multiplications.
constexpr int32_t constant = -1;

struct Instruction {
  Operation operation;
  int32_t to, a, b, c;
  double k, l;
};

// A program as a function that a compiler has made of it (compiled_cell.h): the same rows of n numbers in and out.
template <class T>
using CompiledProgram = void (*)(const T* const* in, T* const* out, int64_t n);

struct CompiledPrograms {
  CompiledProgram<float> of_float;
  CompiledProgram<double> of_double;

  // Always inline: this is compiled for several instruction sets.
  template <class T>
  __attribute__((always_inline)) CompiledProgram<T> of() const {
    if constexpr (sizeof(T) == 4)
      return of_float;
    else
      return of_double;
  }
};

// A mean is known when all units of a row are added up, and there a program is cut; so it is where a matrix multiplies
// a row. What is before a cut runs on all blocks of a row, one after the other: instructions of units up to an index,
// then, once, those of numbers up to another, then products up to a third.
struct Cut {
  int64_t units_end, numbers_end;
  int64_t products_end = numbers_end;

  // Always inline: this is compiled for several instruction sets.
  __attribute__((always_inline)) bool has_products() const { return products_end > numbers_end; }
};

struct Program {
  const Instruction* code;
  int64_t count;
  int32_t inputs, outputs, temporaries;
  int32_t rows = 0, numbers = 0, cut_count = 0;
  const Cut* cuts = nullptr;
  CompiledPrograms compiled{};  // null: the interpreter runs it

  // Always inline likewise.
  __attribute__((always_inline)) int32_t first_number() const { return inputs + outputs + temporaries + rows; }
  __attribute__((always_inline)) int32_t first_row() const { return inputs + outputs + temporaries; }
  // Whether it must be given whole rows: a mean is over the units that it is given.
  __attribute__((always_inline)) bool has_means() const { return numbers > 0; }
  // Stage 0 is before the first cut, stage `cut_count` after the last.
  __attribute__((always_inline)) int64_t first_of_stage(int32_t stage) const {
    return stage ? cuts[stage - 1].products_end : 0;
  }
  // The stage after the first products that follow stage `first`; without any, one more than there are.
  __attribute__((always_inline)) int32_t stages_end(int32_t first) const {
    while (first < cut_count && !cuts[first].has_products()) ++first;
    return first + 1;
  }
  __attribute__((always_inline)) bool has_products() const { return stages_end(0) <= cut_count; }
  // The numbers of scratch that it takes to run it on a row of `units`: what is used between two cuts, and what is kept
  // beyond them.
  __attribute__((always_inline)) int64_t scratch_between() const;
  __attribute__((always_inline)) int64_t scratch_beyond(int64_t units) const;
  __attribute__((always_inline)) int64_t scratch(int64_t units) const {
    return scratch_between() + scratch_beyond(units);
  }
};

constexpr int32_t most_places = 256, most_matrices = 4, most_products = 8;

// Numbers of a block: a temporary is 1 or 2 KiB, so that a few dozen stay in the second-level cache at worst.
constexpr int64_t block_numbers = 256;

// What places of the scratch take is whole cache lines, of 16 floats: vectors of 64 bytes that lie across two take up
// to twice the time. In its line a number has room for the lanes of a vector, which its mean is added up in.
constexpr int64_t number_room = 16;
__attribute__((always_inline)) constexpr int64_t row_room(int64_t units) { return (units + 15) / 16 * 16; }

__attribute__((always_inline)) inline int64_t Program::scratch_between() const { return temporaries * block_numbers; }
__attribute__((always_inline)) inline int64_t Program::scratch_beyond(int64_t units) const {
  return rows * row_room(units) + numbers * number_room;
}

}  // namespace fastrnn
