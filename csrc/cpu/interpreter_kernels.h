// The interpreter and the loop of users' cells, compiled for one instruction set. Included by interpreter_*.cpp alone.
#pragma once
#include "cell_backward.h"
#include "cell_forward.h"
#include "interpreter_table.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
void cell_forward(const CellLoop<T>& p) {
  CellForward<T>(p).run();
}
template <class T>
void cell_backward(const CellLoop<T>& p) {
  CellBackward<T>(p).run();
}

extern const Interpreter interpreter;
const Interpreter interpreter = {
    {run_program<float>, cell_forward<float>, cell_backward<float>},
    {run_program<double>, cell_forward<double>, cell_backward<double>},
};

}  // namespace fastrnn::FASTRNN_TARGET
