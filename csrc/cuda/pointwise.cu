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

template <bool optional>
struct CellForward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const ForwardStep& p, int64_t row, int64_t u) {
    Scalar<Accumulated<T>> a[Cell::slots] = {};
    if constexpr (Cell::gated) {
      read_gate<Cell, T, optional>(p, row, u, a);
    } else {
      add_input_gates<Cell, T>(p, row, u, a);
      add_recurrent_gates<Cell, T>(p, u, a, [&](int g) { return from_state<Cell, T, optional>(p, row, u, g); });
    }
    apply_cell<Cell, T, optional>(p, row, u, a);
  }
};

template <bool optional>
struct CellBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    const int64_t i = row * p.hidden_size + u;
    Scalar<A> da[Cell::slots] = {};
    const Scalar<A> dh = p.dunprojected ? read<A>(p.dunprojected, i) : incoming_dh<T, optional>(p, row, u);
    apply_cell_backward<Cell, T, optional>(p, row, u, dh, da);
  }
};

struct GateBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    apply_gate_backward<Cell, T>(p, row, u);
  }
};

template <class T>
struct ProjectionForward {
  ProjectionStep p;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t u) const {
    const int64_t i = row * p.output_size + u;
    Scalar<Accumulated<T>> h = read<T>(p.projection, i);
    if (p.masks.zoneout_h) h = blend(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + u), read<T>(p.h, i), h);
    if (p.y) write<T>(p.y, row * p.y_row + u, h);
    if (p.resets_after.at(row)) h = read<T>(p.start_h, u);
    if (p.h != p.projection || p.resets_after.data) write<T>(p.h, i, h);
    if (p.read) write<T>(p.read, i, h * dropout<T>(p.masks, i));
  }
};

template <class T>
struct ProjectionBackward {
  BackwardStep p;
  void* doutput;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t u) const {
    using A = Accumulated<T>;
    const int64_t i = row * p.output_size + u;
    Scalar<A> dh = incoming_dh<T, true>(p, row, u), kept{};
    if (p.masks.zoneout_h) kept = blend_backward(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + u), dh);
    if (p.masks.zoneout_h || p.dmasked) write<A>(p.dh, i, kept);
    write<T>(doutput, i, dh);
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

template <template <bool> class Pass, class Step>
cudaError_t run_cell(const Step& step, cudaStream_t stream) {
  return for_cell(PlainCells{}, *step.cell, [&]<class Cell>() {
    return has_options(step) ? run<Pass<true>, Cell>(step, stream) : run<Pass<false>, Cell>(step, stream);
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

cudaError_t cell_forward(const ForwardStep& step, cudaStream_t stream) { return run_cell<CellForward>(step, stream); }

cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream) {
  return run_cell<CellBackward>(step, stream);
}

cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream) {
  return run_gated<GateBackward>(step, stream);
}

cudaError_t projection_forward(const ProjectionStep& step, cudaStream_t stream) {
  return for_number(step.number, [&]<class T>() {
    return for_each_number(ProjectionForward<T>{step}, step.rows, step.output_size, stream);
  });
}

cudaError_t projection_backward(const BackwardStep& step, void* doutput, cudaStream_t stream) {
  return for_number(step.number, [&]<class T>() {
    return for_each_number(ProjectionBackward<T>{step, doutput}, step.rows, step.output_size, stream);
  });
}

}  // namespace fastrnn::cuda
