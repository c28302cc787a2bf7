// The pointwise kernels: a thread per hidden unit, which applies the cell of ../cells to a row, then to the next row
// that is its own. Reads and writes of neighbouring threads are neighbours in memory.
#include <utility>

#include "../cells/cells.h"
#include "launch.h"
#include "number.h"
#include "pointwise.h"

namespace fastrnn::cuda {
namespace {

constexpr int threads_per_block = 128;
constexpr int64_t most_rows_at_once = 65535;  // of a grid

// visit(g) for g = 0 … count-1, known to the compiler: arrays indexed by it stay in registers.
template <class Visit, int... g>
FASTRNN_DEVICE void each(Visit visit, std::integer_sequence<int, g...>) {
  (visit(std::integral_constant<int, g>{}), ...);
}
template <int count, class Visit>
FASTRNN_DEVICE void each(Visit visit) {
  each(visit, std::make_integer_sequence<int, count>{});
}

// Number i of a matrix or vector, 0 where there is none.
template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> read(const void* from, int64_t i) {
  return {from ? widened(static_cast<const T*>(from)[i]) : Accumulated<T>(0)};
}
template <class T>
FASTRNN_DEVICE void write(void* to, int64_t i, Scalar<Accumulated<T>> x) {
  store(static_cast<T*>(to) + i, x.v);
}

// Pre-activations of the gates that both products deliver.
template <class Cell, class T>
FASTRNN_DEVICE void add_gates(const ForwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>>* a) {
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size;
  each<Cell::input_gates>([&](auto g) {
    constexpr int slot = Cell::input_slots[g];
    a[slot] =
        a[slot] + read<A>(p.from_input, (row * Cell::input_gates + g) * size + unit) + read<T>(p.b_ih, g * size + unit);
  });
  each<Cell::recurrent_gates>([&](auto g) {
    constexpr int slot = Cell::recurrent_slots[g];
    a[slot] = a[slot] + read<A>(p.from_state, (row * Cell::recurrent_gates + g) * size + unit) +
              read<T>(p.b_hh, g * size + unit);
  });
}

struct GateForward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const ForwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    using V = Scalar<A>;
    const int64_t size = p.hidden_size, i = row * size + u;
    V a[Cell::slots] = {};
    add_gates<Cell, T>(p, row, u, a);
    write<T>(p.gated, i, Cell::gate(a, read<A>(p.state, i)));
    each<Cell::recurrent_gates>([&](auto g) {
      write<A>(p.from_state, (row * Cell::recurrent_gates + g) * size + u, a[Cell::recurrent_slots[g]]);
    });
  }
};

struct CellForward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const ForwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    using V = Scalar<A>;
    const int64_t size = p.hidden_size, i = row * size + u;
    constexpr bool has_state = Cell::carries_c || Cell::reads_h;
    V a[Cell::slots] = {}, save[Cell::saves + 1], h;
    if constexpr (Cell::gated) {
      each<Cell::recurrent_gates>([&](auto g) {
        a[Cell::recurrent_slots[g]] = read<A>(p.from_state, (row * Cell::recurrent_gates + g) * size + u);
      });
      a[Cell::gated_slot] = read<A>(p.from_input, (row * Cell::input_gates + Cell::gated_slot) * size + u) +
                            read<T>(p.b_ih, Cell::gated_slot * size + u) + read<A>(p.from_gated, i) +
                            read<T>(p.b_hh, Cell::recurrent_gates * size + u);
    } else {
      add_gates<Cell, T>(p, row, u, a);
    }
    V state = has_state ? read<A>(p.state, i) : V{};
    Cell::forward(a, state, state, h, save);
    if constexpr (has_state) write<A>(p.state, i, Cell::carries_c ? state : h);
    write<T>(p.h, i, h);
    if (p.y) write<T>(p.y, row * p.y_row + u, h);
    if (!p.saved) return;
    each<Cell::saves>([&](auto k) { write<A>(p.saved, row * p.saved_row + k * size + u, save[k]); });
    if (p.saves_h) write<A>(p.saved, row * p.saved_row + Cell::saves * size + u, h);
  }
};

template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> previous_h(const BackwardStep& p, int64_t row, int64_t unit) {
  return row < p.rows_before ? read<T>(p.y_before, row * p.y_row + unit) : read<T>(p.h0, row * p.output_size + unit);
}

struct CellBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    using V = Scalar<A>;
    const int64_t size = p.hidden_size, i = row * size + u;
    V save[Cell::saves + 1], da[Cell::slots] = {}, h{}, h_prev{}, c_prev{}, dc{}, dh_prev{};
    each<Cell::saves>([&](auto k) { save[k] = read<A>(p.saved, row * p.saved_row + k * size + u); });
    if constexpr (Cell::saves == 0) h = read<T>(p.y, row * p.y_row + u);
    if (u < p.output_size) {
      h_prev = previous_h<T>(p, row, u);
      write<T>(p.h_before, row * p.output_size + u, h_prev);
    }
    if constexpr (Cell::carries_c) {
      c_prev = row < p.c_rows_before ? read<A>(p.c_before, row * p.c_before_row + u) : read<T>(p.c0, i);
      dc = read<A>(p.dc, i);
    }
    V dh = p.dunprojected ? read<A>(p.dunprojected, i) : read<T>(p.dy, row * p.dy_row + u) + read<A>(p.dh, i);
    Cell::backward(save, h, h_prev, c_prev, dh, dc, da, dh_prev);
    each<Cell::input_gates>(
        [&](auto g) { write<T>(p.d_input, (row * Cell::input_gates + g) * size + u, da[Cell::input_slots[g]]); });
    if (p.d_recurrent)
      each<Cell::recurrent_gates>([&](auto g) {
        write<T>(p.d_recurrent, (row * Cell::recurrent_gates + g) * size + u, da[Cell::recurrent_slots[g]]);
      });
    if constexpr (Cell::carries_c) write<A>(p.dc, i, dc);
    if (!p.dunprojected) write<A>(p.dh, i, dh_prev);
    if (p.kept) write<T>(p.kept, i, read<A>(p.saved, row * p.saved_row + p.kept_slot * size + u));
  }
};

struct GateBackward {
  template <class Cell, class T>
  static FASTRNN_DEVICE void unit(const BackwardStep& p, int64_t row, int64_t u) {
    using A = Accumulated<T>;
    using V = Scalar<A>;
    const int64_t size = p.hidden_size, i = row * size + u;
    V save[Cell::saves], da[Cell::slots] = {}, dh_prev = read<A>(p.dh, i);
    each<Cell::saves>([&](auto k) { save[k] = read<A>(p.saved, row * p.saved_row + k * size + u); });
    Cell::gate_backward(save, previous_h<T>(p, row, u), read<A>(p.dgated, i), da, dh_prev);
    write<T>(p.d_input, row * Cell::input_gates * size + u, da[0]);
    write<A>(p.dh, i, dh_prev);
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
  return launch(kernel<Pass, Cell, T, Step>, grid, threads_per_block, stream, step);
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
  return for_cell(step.cell, [&]<class Cell>() { return run_number<CellForward, Cell>(step, stream); });
}

cudaError_t cell_backward(const BackwardStep& step, cudaStream_t stream) {
  return for_cell(step.cell, [&]<class Cell>() { return run_number<CellBackward, Cell>(step, stream); });
}

cudaError_t gate_backward(const BackwardStep& step, cudaStream_t stream) {
  return run_number<GateBackward, GRUResetBefore>(step, stream);
}

}  // namespace fastrnn::cuda
