// Tensors in, Problem out: with layer.cpp the only CPU files that look into an at::Tensor. Everything a kernel relies
// on is checked here, so that no call, however wrong, reads out of bounds.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "dispatch.h"

namespace fastrnn {

using OptionalTensor = std::optional<at::Tensor>;

// For tests: how many cores there are to be, 0 for those that there are.
void assume_cores(int cores);

void check_sizes(const at::Tensor& t, at::IntArrayRef expected, const char* name);
void check_dtype(const at::Tensor& t, at::ScalarType expected, const char* name);

// One layer's sizes and operands, rows contiguous.
struct Layer {
  CellKind cell;
  bool biases, batch_first, packed;
  int64_t directions, per_direction, times, batch, rows, input_size, hidden_size, output_size;
  at::ScalarType dtype;
  at::Tensor input;
  OptionalTensor h0, c0;
  std::vector<at::Tensor> weights;
  std::vector<int64_t> active, before;

  // Throws c10::Error where something does not fit.
  Layer(c10::string_view cell, const at::Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& h0,
        const OptionalTensor& c0, at::TensorList weights, bool biases, bool bidirectional, bool batch_first);

  const at::Tensor& weight(int64_t direction, int64_t i) const { return weights[direction * per_direction + i]; }
  bool projected() const { return output_size != hidden_size; }
  int64_t saved_row() const { return saved_width(cell, hidden_size, projected(), c10::elementSize(dtype)); }
  // With `recompute` only checkpoints, in 4 dimensions; a cell that saves nothing anyway has nothing to recompute.
  std::vector<int64_t> saved_sizes(bool recompute) const;

  at::Tensor empty(at::IntArrayRef sizes) const;
  at::Tensor empty_output() const;

  // Runs the forward kernels. hn and cn hold the states of a whole stack, of which this layer's begin at `first`.
  void forward(const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn, int64_t first,
               const at::Tensor& saved) const;

  template <class T>
  Rows<T> rows_of(const at::Tensor& t, int64_t offset = 0) const {
    T* data = static_cast<T*>(t.data_ptr()) + offset;
    if (packed) return {data, 0, t.stride(0), t.stride(0)};
    return {data, t.stride(batch_first ? 1 : 0), 0, t.stride(batch_first ? 0 : 1)};
  }

  // What forward and backward ask of the kernels alike.
  template <class T>
  Problem<T> problem(int64_t direction, const at::Tensor& output, const at::Tensor& saved) const;

 private:
  at::Tensor operand(const at::Tensor& t, const char* name) const;
  at::Tensor state(const at::Tensor& t, int64_t size, const char* name) const;
  void read_weights(at::TensorList given);
  void read_lengths(const OptionalTensor& batch_sizes);
};

}  // namespace fastrnn
