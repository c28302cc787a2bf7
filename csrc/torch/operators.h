// The operators that ops.cpp declares, on any device: what is checked, allocated and handed out. A device brings the
// two passes.
#pragma once
#include <torch/library.h>

#include "layer.h"

namespace fastrnn {

// What backward is asked for; an undefined tensor was not given, or is not wanted.
struct Gradients {
  at::Tensor output, hn, cn;  // incoming
  at::Tensor input, h0, c0;
  std::vector<at::Tensor> weights;
};

struct Device {
  const char* dtypes;  // in words
  bool (*serves)(at::ScalarType dtype);
  // Sizes and dtype of what forward leaves for backward; 4 dimensions with `recompute`, if that makes a difference.
  std::vector<int64_t> (*saved_sizes)(const Layer& layer, bool recompute);
  at::ScalarType (*saved_dtype)(at::ScalarType dtype);
  // Neither is called for a layer without rows. `saved` may be empty: nothing is to be saved.
  void (*forward)(const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn,
                  const at::Tensor& saved);
  void (*backward)(const Layer& layer, const at::Tensor& output, const at::Tensor& saved, const Gradients& gradients);
};

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> forward(
    const Device& device, c10::string_view cell, const at::Tensor& input, const OptionalTensor& batch_sizes,
    const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights, bool biases, bool bidirectional,
    bool batch_first, bool save, bool recompute);

std::vector<at::Tensor> backward(const Device& device, c10::string_view cell, const OptionalTensor& d_output,
                                 const OptionalTensor& d_hn, const OptionalTensor& d_cn, const at::Tensor& input,
                                 const OptionalTensor& batch_sizes, const OptionalTensor& h0, const OptionalTensor& c0,
                                 at::TensorList weights, const at::Tensor& output, const at::Tensor& saved, bool biases,
                                 bool bidirectional, bool batch_first, const c10::List<bool>& needs);

// Registers a device's operators, in its TORCH_LIBRARY_IMPL.
template <const Device& device>
void register_device(torch::Library& library) {
  library.impl("forward", [](c10::string_view cell, const at::Tensor& input, const OptionalTensor& batch_sizes,
                             const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights, bool biases,
                             bool bidirectional, bool batch_first, bool save, bool recompute) {
    return forward(device, cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first, save,
                   recompute);
  });
  library.impl("backward",
               [](c10::string_view cell, const OptionalTensor& d_output, const OptionalTensor& d_hn,
                  const OptionalTensor& d_cn, const at::Tensor& input, const OptionalTensor& batch_sizes,
                  const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights, const at::Tensor& output,
                  const at::Tensor& saved, bool biases, bool bidirectional, bool batch_first, c10::List<bool> needs) {
                 return backward(device, cell, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weights, output, saved,
                                 biases, bidirectional, batch_first, needs);
               });
}

}  // namespace fastrnn
