// The operators of a layer on any device: what is checked, allocated and handed out. A device brings the two passes.
#pragma once
#include <torch/library.h>

#include "layer.h"

namespace fastrnn {

// What backward is asked for; an undefined tensor was not given, or is not wanted.
struct Gradients {
  at::Tensor output, hn, cn;  // incoming
  at::Tensor input, h0, c0;
  DirectionWeights weights[2];
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
};

// From the dispatcher's stack to it, as schema.cpp declares the operators.
void forward(const Device& device, torch::jit::Stack& stack);
void backward(const Device& device, torch::jit::Stack& stack);

template <const Device& device>
void boxed_forward(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  forward(device, *stack);
}
template <const Device& device>
void boxed_backward(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  backward(device, *stack);
}

// Registers a device's operators, in its TORCH_LIBRARY_IMPL.
template <const Device& device>
void register_device(torch::Library& library) {
  library.impl("forward", torch::CppFunction::makeFromBoxedFunction<boxed_forward<device>>());
  library.impl("backward", torch::CppFunction::makeFromBoxedFunction<boxed_backward<device>>());
}

}  // namespace fastrnn
