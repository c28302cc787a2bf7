// The operands of one layer, on any device. Everything a kernel relies on is checked here, so that no call, however
// wrong, reads out of bounds.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "../cells/registry.h"

namespace fastrnn {

using OptionalTensor = std::optional<at::Tensor>;

// Throws ValueError where no cell has this name.
const CellDescription& cell_named(std::string_view name);
void check_sizes(const at::Tensor& t, at::IntArrayRef expected, const char* name);
void check_dtype(const at::Tensor& t, at::ScalarType expected, const char* name);
void check_device(const at::Tensor& t, at::Device expected, const char* name);
void check_in_memory(const at::Tensor& t, const char* name);

// One layer's sizes and operands, rows contiguous.
struct Layer {
  const CellDescription& cell;
  bool biases, batch_first, packed;
  int64_t directions, per_direction, times, batch, rows, input_size, hidden_size, output_size;
  at::ScalarType dtype, weight_dtype;  // the latter may be narrower: 16 bits beside float32, on the CPU
  at::Device device;
  at::Tensor input;
  OptionalTensor h0, c0;
  std::vector<at::Tensor> weights;
  std::vector<int64_t> active, before;  // as in cpu/problem.h; of no step where there are no rows

  // Throws c10::Error where something does not fit.
  Layer(const CellDescription& cell, const at::Tensor& input, const OptionalTensor& batch_sizes,
        const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights, bool biases, bool bidirectional,
        bool batch_first);

  const at::Tensor& weight(int64_t direction, int64_t i) const { return weights[direction * per_direction + i]; }
  bool projected() const { return output_size != hidden_size; }

  at::Tensor empty(at::IntArrayRef sizes) const { return empty(sizes, dtype); }
  at::Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype) const;
  at::Tensor empty_output() const;

  // t, checked: these sizes, this dtype, the layer's device, all of it in memory. Copied if its numbers are not
  // aligned.
  at::Tensor operand(const at::Tensor& t, at::ScalarType expected, at::IntArrayRef sizes, const char* name) const;

 private:
  at::Tensor state(const at::Tensor& t, int64_t size, const char* name) const;
  void read_weights(at::TensorList given);
  void read_lengths(const OptionalTensor& batch_sizes);
};

}  // namespace fastrnn
