// The interpreter of cells' programs (interpreter.h), compiled for each instruction set.
#pragma once
#include "../cells/program.h"

namespace fastrnn {

struct Interpreter {
  // Rows of n numbers in and out, none of which overlap but whole; temporaries · block_numbers numbers of scratch.
  void (*of_float)(const Program&, const float* const* in, float* const* out, int64_t n, float* scratch);
  void (*of_double)(const Program&, const double* const* in, double* const* out, int64_t n, double* scratch);
};

// That of instruction_set().
const Interpreter& interpreter();

}  // namespace fastrnn
