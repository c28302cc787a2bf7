// The pointwise kernels: a thread per hidden unit, which applies the cell to a row, then to the next row that is its
// own. Reads and writes of neighbouring threads are neighbours in memory.
#include "../cells/registry.h"
#include "cell_step.h"
#include "launch.h"

namespace fastrnn::cuda {
namespace {

constexpr int threads_per_block = 128;
constexpr int64_t most_rows_at_once = 65535;  // of a grid

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
__global__ void __launch_bounds__(threads_per_block) kernel(Step p) {
  const int64_t unit = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (unit >= p.hidden_size) return;
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) Pass::template unit<Cell, T>(p, row, unit);
}

template <class Pass, class Cell, class T, class Step>
cudaError_t run(const Step& step, cudaStream_t stream) {
  const dim3 grid(unsigned((step.hidden_size + threads_per_block - 1) / threads_per_block),
                  unsigned(step.rows < most_rows_at_once ? step.rows : most_rows_at_once));
  return launch(kernel<Pass, Cell, T, Step>, {grid, threads_per_block}, stream, step);
}

template <class Pass, class Cell, class Step>
cudaError_t run_number(const Step& step, cudaStream_t stream) {
  switch (step.number) {
    case Number::float64:
      return run<Pass, Cell, double>(step, stream);
    case Number::float32:
      return run<Pass, Cell, float>(step, stream);
    case Number::bfloat16:
      return run<Pass, Cell, __nv_bfloat16>(step, stream);
    case Number::float16:
      break;
  }
  return run<Pass, Cell, __half>(step, stream);
}

}  // namespace

cudaError_t gate_forward(const ForwardStep& step, cudaStream_t stream) {
  return run_number<GateForward, GRUResetBefore>(step, stream);  // the only gated cell
}

cudaError_t cell_forward(const ForwardStep& step, cudaStream_t stream) {
  return for_cell(*step.cell, [&]<class Cell>() { return run_number<CellForward, Cell>(step, stream); });
}

cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream) {
  return for_cell(*step.cell, [&]<class Cell>() { return run_number<CellBackward, Cell>(step, stream); });
}

cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream) {
  return run_number<GateBackward, GRUResetBefore>(step, stream);
}

}  // namespace fastrnn::cuda
