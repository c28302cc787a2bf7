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
      "bool bidirectional, bool batch_first, bool save, bool recompute=False, bool projected=False) -> "
      "(Tensor, Tensor, Tensor, Tensor)";
  static constexpr size_t count = 12, place_of_save = 9;
  bool save;

  explicit ForwardArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take_operands(*this);
    reader.take(biases, bidirectional, batch_first, save, recompute, projected);
  }
};

// Returns the gradients of input, h0, c0 and each weight, empty where `needs` says so.
struct BackwardArguments : Arguments {
  static constexpr const char* schema =
      "backward(str cell, Tensor? d_output, Tensor? d_hn, Tensor? d_cn, Tensor input, Tensor? batch_sizes, Tensor? h0, "
      "Tensor? c0, Tensor[] weights, Tensor output, Tensor saved, bool biases, bool bidirectional, bool batch_first, "
      "bool[] needs, bool recompute=False, bool projected=False) -> Tensor[]";
  static constexpr size_t count = 17;
  OptionalTensor d_output, d_hn, d_cn;
  at::Tensor output, saved;
  c10::List<bool> needs;

  explicit BackwardArguments(const CellDescription& of) { cell = &of; }
  explicit BackwardArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take(d_output, d_hn, d_cn);
    reader.take_operands(*this);
    reader.take(output, saved, biases, bidirectional, batch_first, needs, recompute, projected);
  }
  void move_to(torch::jit::Stack& stack) && {
    std::vector<at::Tensor> own(std::make_move_iterator(weights.begin()), std::make_move_iterator(weights.end()));
    torch::jit::push(stack, cell->name, std::move(d_output), std::move(d_hn), std::move(d_cn), std::move(input),
                     std::move(batch_sizes), std::move(h0), std::move(c0), std::move(own), std::move(output),
                     std::move(saved), biases, bidirectional, batch_first, std::move(needs), recompute, projected);
  }
};

// All layers of forward at once, without saving, for compiled graphs: one call instead of several operators a layer. On
// the CPU. Returns output, h_n and c_n.
struct InferArguments : Arguments {
  static constexpr const char* schema =
      "infer(str cell, Tensor input, Tensor? batch_sizes, Tensor? h0, Tensor? c0, Tensor[] weights, int num_layers, "
      "bool biases, bool bidirectional, bool batch_first, bool projected=False) -> (Tensor, Tensor, Tensor)";
  static constexpr size_t count = 11;
  int64_t num_layers;

  explicit InferArguments(torch::jit::Stack& stack) {
    Reader reader(stack, count);
    reader.take_cell(*this);
    reader.take_operands(*this);
    reader.take(num_layers, biases, bidirectional, batch_first, projected);
  }
};

}  // namespace fastrnn
