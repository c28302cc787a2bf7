// One layer, its arguments checked, on any device. Everything a kernel relies on is checked here, so that no call,
// however wrong, reads out of bounds.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "../sequence/problem.h"
#include "arguments.h"

namespace fastrnn {

void check_sizes(const at::Tensor& t, at::IntArrayRef expected, const char* name);
void check_dtype(const at::Tensor& t, at::ScalarType expected, const char* name);
void check_device(const at::Tensor& t, at::Device expected, const char* name);  // the input's
void check_in_memory(const at::Tensor& t, const char* name);
void check_weight_count(const Arguments& arguments, int64_t num_layers);
std::string name_of(at::ScalarType dtype);  // as Python writes it

// The weights of one direction, or their gradients. Undefined where there is none.
struct DirectionWeights {
  at::Tensor w_ih, w_hh, b_ih, b_hh, w_hr;
  std::array<at::Tensor, most_vectors> vectors;  // the cell's own
  at::Tensor h_0, c_0;                           // the learned initial state
};

// A layer's sizes and operands, rows contiguous.
struct Layer {
  const CellDescription& cell;
  const bool packed, batch_first, projected;
  const bool recompute;  // nothing is saved but checkpoints; of a recomputable cell
  const bool every_c;    // c after every step follows h in the output
  const bool learned_state;
  const int64_t heads;  // that divide hidden_size and output_size
  const int64_t directions;
  int64_t times, batch, input_size, hidden_size, output_size;
  int64_t rows;         // at all times together, those beyond the ends of `lengths` left out
  int64_t steps;        // of the longest row
  WeightFormat format;  // of matrices that are packed once and for all, else `same`
  bool rounds_rows;     // see Arguments
  // Of states and sums; of input; of weights. On the CPU the latter two may be narrower than float32: weights of 16
  // bits, and at inference input of bfloat16 (Problem::narrow_x).
  at::ScalarType dtype, input_dtype, weight_dtype;
  at::Device device;
  at::Tensor input;
  OptionalTensor h0, c0;
  at::Tensor recurrent_mask, zoneout_h, zoneout_c;  // see Arguments; undefined where there is none
  DirectionWeights weights[2];
  std::vector<int64_t> active, before;  // as in sequence/problem.h; of no step where there are no rows
  std::vector<int64_t> row_of;          // likewise, empty where rows are in the tensors' order
  std::vector<uint8_t> resets;          // likewise, on the CPU; empty where there are none
  at::Tensor given_resets;              // as they were given; undefined where they were not

  // Throws c10::Error where something does not fit. The layer's own arguments: of a stack those of one layer.
  // `widens_input`: states and sums are float32 beside input of bfloat16, which the kernels read as it is.
  explicit Layer(const Arguments& arguments, bool widens_input = false);

  // Calls visit(weight or gradient, its sizes, its name) for all of a direction, in the order of Arguments::weights.
  template <class Visit>
  void each_weight(DirectionWeights& of, bool biases, Visit visit) const {
    const int64_t input_rows = cell.input_gates * hidden_size, state_rows = cell.gates_of_state() * hidden_size;
    visit(of.w_ih, {input_rows, input_size}, "weight_ih");
    visit(of.w_hh, {state_rows, output_size / heads}, "weight_hh");
    if (biases) visit(of.b_ih, {input_rows}, "bias_ih"), visit(of.b_hh, {state_rows}, "bias_hh");
    if (projected) visit(of.w_hr, {output_size, hidden_size}, "weight_hr");
    for (int k = 0; k < cell.vectors; ++k)
      visit(of.vectors[k], {cell.vector_size(k) * hidden_size}, cell.vector_names[k]);
    if (learned_state) visit(of.h_0, {output_size}, "h_0");
    if (learned_state && cell.carries_c) visit(of.c_0, {hidden_size}, "c_0");
  }

  bool regularized() const { return recurrent_mask.defined() || zoneout_h.defined() || zoneout_c.defined(); }

  // Of the output, and of its gradient.
  int64_t output_features() const { return directions * (output_size + (every_c ? hidden_size : 0)); }
  // Rows for which forward leaves something for backward: a number that follows from shapes alone.
  int64_t saved_rows() const { return packed ? rows : times * batch; }

  at::Tensor empty(at::IntArrayRef sizes) const { return empty(sizes, dtype); }
  at::Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype) const;
  at::Tensor empty_output() const { return empty_output(dtype); }
  at::Tensor empty_output(at::ScalarType dtype) const;

  // t, checked: these sizes, this dtype, the layer's device, all of it in memory. Copied if its numbers are not
  // aligned.
  at::Tensor operand(const at::Tensor& t, at::ScalarType expected, at::IntArrayRef sizes, const char* name) const;

 private:
  at::Tensor state(const at::Tensor& t, int64_t size, const char* name) const;
  void read_weights(const Arguments& arguments);
  void check_heads() const;
  void read_packed_weights(const Arguments& arguments);
  void read_batch_sizes(const at::Tensor& batch_sizes);
  void read_lengths(const at::Tensor& lengths);
  void read_resets(const at::Tensor& resets);
  void read_masks(const Arguments& arguments);
};

// Zeros in the rows of a tensor, shaped as the layer's input or output, that are beyond the ends of `lengths`.
void clear_beyond_ends(const Layer& layer, const at::Tensor& t);

}  // namespace fastrnn
