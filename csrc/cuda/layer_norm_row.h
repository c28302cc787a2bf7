// Sums over a row of the batch, by a block of threads: what normalization needs between product and cell. A thread owns
// every blockDim-th number of the row. The order of a sum depends on the width of the row alone: a row has the same
// bits in any batch.
#pragma once
#include "../cells/registry.h"
#include "launch.h"
#include "layer_norm.h"

namespace fastrnn::cuda {

// Of a block, and added up together. The compiler is told that a multiprocessor need not run more than one block: else
// it spills registers in float64.
constexpr int most_row_threads = 512, most_sums = 4;

inline Launch launch_rows(int64_t rows, int64_t columns, size_t bytes_of_number) {
  Launch shape{dim3(unsigned(rows)),
               unsigned(columns < most_row_threads ? (columns + 31) / 32 * 32 : most_row_threads)};
  shape.shared = 2 * most_sums * (most_row_threads / 32) * bytes_of_number;
  return shape;
}

// The sums over all threads of a block of what each has, in shared memory. Parts of two calls lie apart: one barrier is
// enough.
template <class A>
class BlockSums {
 public:
  template <int count>
  __device__ void add_up(A (&sums)[count]) {
    static_assert(count <= most_sums);
    const int warps = blockDim.x / 32;
    for (int k = 0; k < count; ++k) sums[k] = warp_sum(sums[k]);
    if (warps == 1) return;
    A* const parts = reinterpret_cast<A*>(shared_memory()) + second * most_sums * warps;
    second = !second;
    if (threadIdx.x % 32 == 0)
      for (int k = 0; k < count; ++k) parts[k * warps + threadIdx.x / 32] = sums[k];
    __syncthreads();
    for (int k = 0; k < count; ++k) {
      sums[k] = parts[k * warps];
      for (int w = 1; w < warps; ++w) sums[k] += parts[k * warps + w];
    }
  }

 private:
  bool second = false;
};

// Of the numbers `unit` times as large. unit is a power of two, and 1 but of very large numbers.
template <class A>
struct Moments {
  A unit, mean, scale;

  FASTRNN_DEVICE A normalized(A x) const { return (unit * x - mean) * scale; }
  FASTRNN_DEVICE A over_deviation() const { return unit * scale; }  // 1/σ
};

// Of `count` numbers, number(i) the i-th, of which each thread asks for its own. First the mean, then squares: no large
// numbers cancel.
template <class A, class NumberAt>
__device__ Moments<A> moments(int64_t count, A unit, A epsilon, BlockSums<A>& block, NumberAt number) {
  A sum[1] = {}, squares[1] = {};
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum[0] += unit * number(i);
  block.add_up(sum);
  const A mean = sum[0] / A(count);
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const A difference = unit * number(i) - mean;
    squares[0] += difference * difference;
  }
  block.add_up(squares);
  return {unit, mean, 1 / ::sqrt(squares[0] / A(count) + epsilon)};
}

// With an epsilon of 1e-5, as torch.nn.LayerNorm. Where sums are beyond A, σ would be infinite and the row 0: they are
// added up again of smaller numbers, whose epsilon is only to keep equal ones from 0 / 0. All threads of a block take
// the same way, since they have the same sums.
template <class A, class NumberAt>
__device__ Moments<A> moments(int64_t count, BlockSums<A>& block, NumberAt number) {
  const Moments<A> found = moments(count, A(1), A(1e-5), block, number);
  if (found.scale > 0) return found;
  constexpr A unit = sizeof(A) == 4 ? 0x1p-80 : 0x1p-640, least = sizeof(A) == 4 ? 0x1p-126 : 0x1p-1022;
  return moments(count, unit, least, block, number);
}

// The gradient of x through y = (x - mean x) / σ, from that of y; the means are over all numbers of the row.
template <class A>
struct NormGradient {
  A mean_dy = 0, mean_dy_y = 0, scale = 0;  // 1/σ

  FASTRNN_DEVICE A dx(A dy, A y) const { return (dy - mean_dy - y * mean_dy_y) * scale; }
};

// The places of a row's numbers.
template <class Cell>
struct NormalizedRow {
  using Plain = typename Cell::Plain;
  static constexpr int in = Cell::input_gates, slots = Cell::slots;
  // Of what is saved. `zoned`: what zoneout hides.
  static constexpr int normalized_c = slots, plain = slots + Cell::carries_c, zoned = plain + Plain::saves;
  static_assert(zoned == Cell::saves - 1);
  // Of d_vectors: the plain cell's pre-activations, then what tanh reads of c.
  static constexpr int of_c = Plain::slots, gradients = Plain::slots + Cell::carries_c;

  static constexpr bool of_input(int k) { return k < in; }
  static constexpr int gate(int k) { return of_input(k) ? k : k - in; }  // of its product
  // The plain cell's slot that gate k of both products goes to.
  static constexpr int slot(int k) { return of_input(k) ? Plain::input_slots[k] : Plain::recurrent_slots[k - in]; }
};

}  // namespace fastrnn::cuda
