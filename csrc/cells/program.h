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
  count
};

// Operands and results are places: first the inputs, then the outputs, then the temporaries. An operand `constant` is
// the number k; of `where` k for b and l for c.
constexpr int32_t constant = -1;

struct Instruction {
  Operation operation;
  int32_t to, a, b, c;
  double k, l;
};

struct Program {
  const Instruction* code;
  int64_t count;
  int32_t inputs, outputs, temporaries;

  int32_t places() const { return inputs + outputs + temporaries; }
};

constexpr int32_t most_places = 256;

// Numbers of a block: a temporary is 1 or 2 KiB, so that a few dozen stay in the second-level cache at worst.
constexpr int64_t block_numbers = 256;

}  // namespace fastrnn
