// The operators of a layer on any device: what is checked, allocated and handed out. A device brings the two passes.
#pragma once
#include <torch/library.h>

#include "layer.h"
#include "schema.h"

namespace fastrnn {

// What backward is asked for; an undefined tensor was not given, or is not wanted.
struct Gradients {
  at::Tensor output, hn, cn;  // incoming
  at::Tensor input, h0, c0;
  DirectionWeights weights[2];
  int64_t groups = 0;  // as in sequence/problem.h
};

struct Device {
  const char* dtypes;  // in words
  bool (*serves)(at::ScalarType dtype);
  // Sizes and dtype of what forward leaves for backward.
  std::vector<int64_t> (*saved_sizes)(const Layer& layer);
  at::ScalarType (*saved_dtype)(at::ScalarType dtype);
  // Neither is called for a layer without rows. `saved` is undefined where nothing is to be saved.
  void (*forward)(const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn,
                  const at::Tensor& saved);
  void (*backward)(const Layer& layer, const at::Tensor& output, const at::Tensor& saved, const Gradients& gradients);
  bool sums_by_group = false;  // whether backward takes `groups`
  bool takes_lengths = false;  // in any order; packed input has its own, which every device takes
};

// What schema.h says of the two operators.
struct ForwardResults {
  at::Tensor output, hn, cn, saved;
};
ForwardResults forward(const Device& device, const ForwardArguments& arguments);
std::vector<at::Tensor> backward(const Device& device, const BackwardArguments& arguments);

// The same from the dispatcher's stack to it.
template <const Device& device>
void boxed_forward(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  ForwardResults results = forward(device, ForwardArguments(*stack));
  torch::jit::drop(*stack, ForwardArguments::count);
  torch::jit::push(*stack, std::move(results.output), std::move(results.hn), std::move(results.cn),
                   std::move(results.saved));
}
template <const Device& device>
void boxed_backward(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  std::vector<at::Tensor> gradients = backward(device, BackwardArguments(*stack));
  torch::jit::drop(*stack, BackwardArguments::count);
  torch::jit::push(*stack, std::move(gradients));
}

// Registers a device's operators, in its TORCH_LIBRARY_IMPL.
template <const Device& device>
void register_device(torch::Library& library) {
  library.impl("forward", torch::CppFunction::makeFromBoxedFunction<boxed_forward<device>>());
  library.impl("backward", torch::CppFunction::makeFromBoxedFunction<boxed_backward<device>>());
}

}  // namespace fastrnn
