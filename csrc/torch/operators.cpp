#include "operators.h"

#include <ATen/ops/zeros.h>

#include "threads.h"

namespace fastrnn {

using at::Tensor;

namespace {

void check_served(const Device& device, const Tensor& input) {
  TORCH_CHECK(device.serves(input.scalar_type()), "Expected input dtype ", device.dtypes, ", got ",
              input.scalar_type());
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Device& device, c10::string_view cell, const Tensor& input,
                                                   const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                                   const OptionalTensor& c0, at::TensorList weights, bool biases,
                                                   bool bidirectional, bool batch_first, bool save, bool recompute) {
  check_served(device, input);
  NoThreadsInForkedChild guard;
  Layer layer(cell_named(cell), input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  Tensor output = layer.empty_output();
  Tensor hn = layer.empty({layer.directions, layer.batch, layer.output_size});
  Tensor cn = layer.empty({0}), saved = layer.empty({0});
  if (layer.cell.carries_c) cn = layer.empty({layer.directions, layer.batch, layer.hidden_size});
  if (save) saved = layer.empty(device.saved_sizes(layer, recompute), device.saved_dtype(layer.dtype));
  if (layer.rows > 0) device.forward(layer, output, hn, cn, saved);
  return {output, hn, cn, saved};
}

std::vector<Tensor> backward(const Device& device, c10::string_view cell, const OptionalTensor& d_output,
                             const OptionalTensor& d_hn, const OptionalTensor& d_cn, const Tensor& input,
                             const OptionalTensor& batch_sizes, const OptionalTensor& h0, const OptionalTensor& c0,
                             at::TensorList weights, const Tensor& output_, const Tensor& saved, bool biases,
                             bool bidirectional, bool batch_first, const c10::List<bool>& needs) {
  check_served(device, input);
  NoThreadsInForkedChild guard;
  Layer layer(cell_named(cell), input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  TORCH_CHECK(needs.size() == 3 + weights.size(), "Expected needs for input, h0, c0 and ", weights.size(),
              " weights, got ", needs.size());
  const Tensor blank = layer.empty_output();
  auto incoming = [&](const OptionalTensor& t, at::IntArrayRef sizes, const char* name) {
    return t ? layer.operand(*t, layer.dtype, sizes, name) : Tensor();
  };
  auto last_contiguous = [](const Tensor& t) {
    return t.defined() && t.numel() && t.stride(-1) != 1 ? t.contiguous() : t;
  };
  auto contiguous = [](const Tensor& t) { return t.defined() ? t.contiguous() : t; };
  const Tensor output = last_contiguous(incoming(output_, blank.sizes(), "output"));
  Gradients gradients;
  gradients.output = last_contiguous(incoming(d_output, blank.sizes(), "d_output"));
  gradients.hn = contiguous(incoming(d_hn, {layer.directions, layer.batch, layer.output_size}, "d_hn"));
  gradients.cn = contiguous(incoming(d_cn, {layer.directions, layer.batch, layer.hidden_size}, "d_cn"));
  check_sizes(saved, device.saved_sizes(layer, saved.dim() == 4), "saved");
  check_device(saved, layer.device, "saved");
  check_in_memory(saved, "saved");
  TORCH_CHECK(saved.scalar_type() == device.saved_dtype(layer.dtype) && saved.is_contiguous(),
              "Expected saved as forward returned it");

  auto wanted = [&](int64_t i, const Tensor& operand) {
    if (!needs.get(i)) return Tensor();
    return layer.rows > 0 ? layer.empty(operand.sizes()) : at::zeros(operand.sizes(), operand.options());
  };
  gradients.input = wanted(0, layer.input);
  if (layer.h0) gradients.h0 = wanted(1, *layer.h0);
  if (layer.c0) gradients.c0 = wanted(2, *layer.c0);
  for (size_t i = 0; i < weights.size(); ++i) gradients.weights.push_back(wanted(3 + i, layer.weights[i]));
  if (layer.rows > 0) device.backward(layer, output, saved, gradients);

  std::vector<Tensor> result;
  auto hand_out = [&](const Tensor& t) { result.push_back(t.defined() ? t : layer.empty({0})); };
  hand_out(gradients.input), hand_out(gradients.h0), hand_out(gradients.c0);
  for (const Tensor& t : gradients.weights) hand_out(t.defined() ? t.to(layer.weight_dtype) : t);
  return result;
}

}  // namespace fastrnn
