// All cells, and the one table that names them.
#pragma once
#include "gru.h"
#include "lstm.h"
#include "rnn.h"

namespace fastrnn {

// Calls run<Cell>() for the cell.
template <class Run>
auto for_cell(CellKind cell, Run run) {
  switch (cell) {
    case CellKind::rnn_tanh:
      return run.template operator()<RNN<Tanh>>();
    case CellKind::rnn_relu:
      return run.template operator()<RNN<Relu>>();
    case CellKind::rnn_sigmoid:
      return run.template operator()<RNN<Sigmoid>>();
    case CellKind::gru:
      return run.template operator()<GRU>();
    case CellKind::gru_reset_before:
      return run.template operator()<GRUResetBefore>();
    case CellKind::lstm:
      break;
  }
  return run.template operator()<LSTM>();
}

}  // namespace fastrnn
