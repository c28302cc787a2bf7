// A layer's tensors in, a Problem for the CPU's kernels out.
#pragma once
#include "../sequence/problem.h"
#include "layer.h"

namespace fastrnn::cpu {

// Sizes of what forward leaves for backward. With `recompute` only checkpoints.
std::vector<int64_t> saved_sizes(const Layer& layer);

// Runs the forward kernels. hn and cn hold the states of a whole stack, of which this layer's begin at `first`.
void forward(const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn, int64_t first,
             const at::Tensor& saved);

// The rows of a tensor shaped as the layer's input or output. Asked for as const even where it is written: an output
// that autograd.cpp shares with the user must not be copied because it is read here. What is written is always new.
template <class T>
Rows<T> rows_of(const Layer& layer, const at::Tensor& t, int64_t offset = 0) {
  T* data = static_cast<T*>(const_cast<void*>(t.const_data_ptr())) + offset;
  if (layer.packed) return {data, 0, t.stride(0), t.stride(0)};
  return {data, t.stride(layer.batch_first ? 1 : 0), 0, t.stride(layer.batch_first ? 0 : 1)};
}

// The threads that torch allows a layer here: one where it is itself a part of parallel work, or OpenMP's are not
// there.
int wanted_threads();

// What forward and backward ask of the kernels alike.
template <class T>
Problem<T> problem(const Layer& layer, int64_t direction, int threads, const at::Tensor& output,
                   const at::Tensor& saved);

}  // namespace fastrnn::cpu
