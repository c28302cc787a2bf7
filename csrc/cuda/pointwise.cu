// The pointwise kernels: a thread per hidden unit, which applies the cell to one row after the other.
#include "../cells/registry.h"
#include "cell_step.h"
#include "grid.h"

namespace fastrnn::cuda {
namespace {

struct GateForward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const ForwardStep& p, int64_t row, int64_t u) {
    Scalar<Accumulated<T>> a[Cell::slots] = {};
    add_input_gates<Cell, T>(p, row, u, a);
    add_recurrent_gates<Cell, T>(p, u, a, [&](int g) { return from_state<Cell, T>(p, row, u, g); });
    apply_gate<Cell, T>(p, row, u, a);
  }
};

struct CellForward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const ForwardStep& p, int64_t row, int64_t u) {
    Scalar<Accumulated<T>> a[Cell::slots] = {};
    if constexpr (Cell::gated) {
      read_gate<Cell, T>(p, row, u, a);
    } else {
      add_input_gates<Cell, T>(p, row, u, a);
      add_recurrent_gates<Cell, T>(p, u, a, [&](int g) { return from_state<Cell, T>(p, row, u, g); });
    }
    apply_cell<Cell, T>(p, row, u, a);
  }
};

struct CellBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    const int64_t i = row * p.hidden_size + u;
    Scalar<A> da[Cell::slots] = {};
    apply_cell_backward<Cell, T>(p, row, u, p.dunprojected ? read<A>(p.dunprojected, i) : incoming_dh<T>(p, row, u),
                                 da);
  }
};

struct GateBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    apply_gate_backward<Cell, T>(p, row, u);
  }
};

template <class Pass, class Cell, class T, class Step>
struct AtUnit {
  Step p;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t unit) const { Pass::template unit<Cell, T>(p, row, unit); }
};

template <class Pass, class Cell, class Step>
cudaError_t run(const Step& step, cudaStream_t stream) {
  return for_number(step.number, [&]<class T>() {
    return for_each_number(AtUnit<Pass, Cell, T, Step>{step}, step.rows, step.hidden_size, stream);
  });
}

// Of the cells whose step has a second product.
template <class Pass, class Step>
cudaError_t run_gated(const Step& step, cudaStream_t stream) {
  return for_cell(PlainCells{}, *step.cell, [&]<class Cell>() {
    if constexpr (Cell::gated)
      return run<Pass, Cell>(step, stream);
    else
      return cudaErrorInvalidValue;
  });
}

}  // namespace

cudaError_t gate_forward(const ForwardStep& step, cudaStream_t stream) { return run_gated<GateForward>(step, stream); }

cudaError_t cell_forward(const ForwardStep& step, cudaStream_t stream) {
  return for_cell(PlainCells{}, *step.cell, [&]<class Cell>() { return run<CellForward, Cell>(step, stream); });
}

cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream) {
  return for_cell(PlainCells{}, *step.cell, [&]<class Cell>() { return run<CellBackward, Cell>(step, stream); });
}

cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream) {
  return run_gated<GateBackward>(step, stream);
}

}  // namespace fastrnn::cuda
