// What runs users' cells (interpreter.h, cell_forward.h, cell_backward.h), compiled for each instruction set.
#pragma once
#include "../cells/cell_loop.h"

namespace fastrnn {

template <class T>
struct CellPasses {
  // Rows of n numbers in and out; Program::scratch(n) numbers of scratch.
  void (*run)(const Program&, const T* const* in, T* const* out, int64_t n, T* scratch);
  void (*forward)(const CellLoop<T>&);
  void (*backward)(const CellLoop<T>&);
};

struct Interpreter {
  CellPasses<float> of_float;
  CellPasses<double> of_double;
};

// That of instruction_set().
const Interpreter& interpreter();

}  // namespace fastrnn
