// The operators of a layer: their schemas, and the arguments of each, read from the dispatcher's stack. Programs that
// were exported earlier must still load, so a new argument comes last and has a default.
#pragma once
#include "arguments.h"

namespace fastrnn {

// One layer, all its directions. Returns output, h_n, c_n (empty where the cell has none) and saved (empty unless
// `save`, or a backward pass will follow). With `recompute` saved holds only what backward cannot find again.
struct ForwardArguments : Arguments {
  static constexpr const char* schema =
      "forward(str cell, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] weights, bool biases, "
      "bool bidirectional, bool batch_first, bool save, bool recompute=False, bool projected=False, Tensor? "
      "lengths=None, Tensor? resets=None, bool every_state=False, bool learned_state=False, Tensor? "
      "recurrent_mask=None, Tensor? zoneout_h=None, Tensor? zoneout_c=None, int heads=1) -> (Tensor, "
      "Tensor, Tensor, Tensor)";
  static constexpr size_t count = 20;
  bool save = false;

  explicit ForwardArguments(Arguments of) : Arguments(std::move(of)) {}
  explicit ForwardArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take_operands(*this);
    reader.take(biases, bidirectional, batch_first, save, recompute, projected, lengths, resets, every_state,
                learned_state, recurrent_mask, zoneout_h, zoneout_c, heads);
  }
  void copy_to(torch::jit::Stack& stack) const {
    torch::jit::push(stack, cell->name, input, batch_sizes, h0, c0, weight_vector(), biases, bidirectional, batch_first,
                     save, recompute, projected, lengths, resets, every_state, learned_state, recurrent_mask, zoneout_h,
                     zoneout_c, heads);
  }
};

// Returns the gradients of input, h0, c0 and each weight, empty where `needs` says so. With `groups`, those of a weight
// are (groups, ...): number v is the sum over the rows b of the batch with b % groups = v.
struct BackwardArguments : Arguments {
  static constexpr const char* schema =
      "backward(str cell, Tensor? d_output, Tensor? d_hn, Tensor? d_cn, Tensor input, Tensor? batch_sizes, Tensor? h0, "
      "Tensor? c0, Tensor[] weights, Tensor output, Tensor saved, bool biases, bool bidirectional, bool batch_first, "
      "bool[] needs, bool recompute=False, bool projected=False, int groups=0, Tensor? lengths=None, Tensor? "
      "resets=None, bool every_state=False, bool learned_state=False, Tensor? recurrent_mask=None, Tensor? "
      "zoneout_h=None, Tensor? zoneout_c=None, int heads=1) -> Tensor[]";
  static constexpr size_t count = 26;
  OptionalTensor d_output, d_hn, d_cn;
  at::Tensor output, saved;
  std::vector<bool> needs;
  int64_t groups = 0;

  explicit BackwardArguments(const CellDescription& of) { cell = &of; }
  explicit BackwardArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take(d_output, d_hn, d_cn);
    reader.take_operands(*this);
    reader.take(output, saved, biases, bidirectional, batch_first, needs, recompute, projected, groups, lengths, resets,
                every_state, learned_state, recurrent_mask, zoneout_h, zoneout_c, heads);
  }
  void copy_to(torch::jit::Stack& stack) const {
    torch::jit::push(stack, cell->name, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weight_vector(), output,
                     saved, biases, bidirectional, batch_first, needs, recompute, projected, groups, lengths, resets,
                     every_state, learned_state, recurrent_mask, zoneout_h, zoneout_c, heads);
  }
};

// All layers of forward at once, without saving, for compiled graphs: one call instead of several operators a layer. On
// the CPU. Returns output, h_n and c_n.
struct InferArguments : Arguments {
  static constexpr const char* schema =
      "infer(str cell, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] weights, int num_layers, "
      "bool biases, bool bidirectional, bool batch_first, bool projected=False, Tensor? lengths=None, Tensor? "
      "resets=None, bool learned_state=False, int heads=1) -> (Tensor, Tensor, Tensor)";
  static constexpr size_t count = 15;
  int64_t num_layers;

  explicit InferArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take_operands(*this);
    reader.take(num_layers, biases, bidirectional, batch_first, projected, lengths, resets, learned_state, heads);
  }
};

// The same with matrices that are packed once and for all as `numbers`, each one tensor of bytes (sequence/packed.h).
// Biases, the cell's vectors and zoneout are float32; input and states may be float32, bfloat16 or float16.
// `every_state` is of one layer; zoneout is the same in all.
struct InferPackedArguments : Arguments {
  static constexpr const char* schema =
      "infer_packed(str cell, str numbers, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] "
      "weights, "
      "int input_size, int hidden_size, int projection_size, int num_layers, bool biases, bool bidirectional, "
      "bool batch_first, Tensor? lengths=None, Tensor? resets=None, bool every_state=False, bool learned_state=False, "
      "int heads=1, Tensor? zoneout_h=None, Tensor? zoneout_c=None) -> (Tensor, Tensor, Tensor)";
  static constexpr size_t count = 21;
  int64_t num_layers;

  explicit InferPackedArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take_format(*this);
    reader.take_operands(*this);
    reader.take(input_size, hidden_size, projection_size, num_layers, biases, bidirectional, batch_first, lengths,
                resets, every_state, learned_state, heads, zoneout_h, zoneout_c);
    projected = projection_size != 0;
  }
};

}  // namespace fastrnn
