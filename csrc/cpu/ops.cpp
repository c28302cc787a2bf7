// The CPU's side of the operators that csrc/ops.cpp declares.
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "layer.h"

namespace fastrnn {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(c10::string_view cell, const Tensor& input,
                                                   const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                                   const OptionalTensor& c0, at::TensorList weights, bool biases,
                                                   bool bidirectional, bool batch_first, bool save, bool recompute) {
  Layer layer(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  Tensor output = layer.empty_output();
  Tensor hn = layer.empty({layer.directions, layer.batch, layer.output_size});
  Tensor cn = layer.empty({0}), saved = layer.empty({0});
  if (layer.cell == CellKind::lstm) cn = layer.empty({layer.directions, layer.batch, layer.hidden_size});
  if (save) saved = layer.empty(layer.saved_sizes(recompute));
  layer.forward(output, hn, cn, 0, saved);
  return {output, hn, cn, saved};
}

// The gradient of one thing at a time: wanted or not, and if so a tensor to write to.
struct Gradients {
  Tensor input, h0, c0;
  std::vector<Tensor> weights;
};

template <class T>
T* data_or_null(const Tensor& t, int64_t offset = 0) {
  return t.defined() ? t.mutable_data_ptr<T>() + offset : nullptr;
}

template <class T>
void run_backward(const Layer& layer, const Tensor& dy, const Tensor& dhn, const Tensor& dcn, const Tensor& output,
                  const Tensor& saved, const Gradients& grads, void (*kernel)(const Problem<T>&)) {
  bool dx_written = false;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T> p = layer.problem<T>(d, output, saved);
    int64_t h_offset = d * layer.batch * layer.output_size, c_offset = d * layer.batch * layer.hidden_size;
    if (dy.defined()) p.dy = layer.rows_of<const T>(dy, d * layer.output_size);
    p.dhn = data_or_null<T>(dhn, h_offset), p.dcn = data_or_null<T>(dcn, c_offset);
    if (grads.input.defined()) p.dx = layer.rows_of<T>(grads.input), p.add_to_dx = dx_written, dx_written = true;
    p.dh0 = data_or_null<T>(grads.h0, h_offset), p.dc0 = data_or_null<T>(grads.c0, c_offset);
    const Tensor* dw = &grads.weights[d * layer.per_direction];
    p.dw_ih = data_or_null<T>(dw[0]), p.dw_hh = data_or_null<T>(dw[1]);
    if (layer.biases) p.db_ih = data_or_null<T>(dw[2]), p.db_hh = data_or_null<T>(dw[3]);
    if (layer.projected()) p.dw_hr = data_or_null<T>(dw[layer.per_direction - 1]);
    kernel(p);
  }
}

std::vector<Tensor> backward(c10::string_view cell, const OptionalTensor& d_output, const OptionalTensor& d_hn,
                             const OptionalTensor& d_cn, const Tensor& input, const OptionalTensor& batch_sizes,
                             const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights,
                             const Tensor& output_, const Tensor& saved, bool biases, bool bidirectional,
                             bool batch_first, c10::List<bool> needs) {
  Layer layer(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  TORCH_CHECK(needs.size() == 3 + weights.size(), "Expected needs for input, h0, c0 and ", weights.size(),
              " weights, got ", needs.size());
  Tensor blank = layer.empty_output();
  auto incoming = [&](const OptionalTensor& t, at::IntArrayRef sizes, const char* name) {
    if (!t) return Tensor();
    check_sizes(*t, sizes, name);
    check_dtype(*t, layer.dtype, name);
    return *t;
  };
  Tensor output = incoming(output_, blank.sizes(), "output"), dy = incoming(d_output, blank.sizes(), "d_output");
  if (dy.defined() && dy.numel() && dy.stride(-1) != 1) dy = dy.contiguous();
  if (output.numel() && output.stride(-1) != 1) output = output.contiguous();
  Tensor dhn = incoming(d_hn, {layer.directions, layer.batch, layer.output_size}, "d_hn");
  Tensor dcn = incoming(d_cn, {layer.directions, layer.batch, layer.hidden_size}, "d_cn");
  if (dhn.defined()) dhn = dhn.contiguous();
  if (dcn.defined()) dcn = dcn.contiguous();
  check_sizes(saved, layer.saved_sizes(saved.dim() == 4), "saved");
  TORCH_CHECK(saved.scalar_type() == layer.dtype && saved.is_contiguous(), "Expected saved as forward returned it");

  auto wanted = [&](int64_t i, at::IntArrayRef sizes) {
    if (!needs.get(i)) return Tensor();
    return layer.rows > 0 ? layer.empty(sizes) : at::zeros(sizes, layer.dtype);
  };
  Gradients grads;
  grads.input = wanted(0, layer.input.sizes());
  if (layer.h0) grads.h0 = wanted(1, layer.h0->sizes());
  if (layer.c0) grads.c0 = wanted(2, layer.c0->sizes());
  for (size_t i = 0; i < weights.size(); ++i) grads.weights.push_back(wanted(3 + i, layer.weights[i].sizes()));
  if (layer.rows > 0) {
    if (layer.dtype == at::kDouble)
      run_backward<double>(layer, dy, dhn, dcn, output, saved, grads, kernels().backward_double);
    else
      run_backward<float>(layer, dy, dhn, dcn, output, saved, grads, kernels().backward_float);
  }
  std::vector<Tensor> result;
  auto hand_out = [&](const Tensor& t) { result.push_back(t.defined() ? t : layer.empty({0})); };
  hand_out(grads.input), hand_out(grads.h0), hand_out(grads.c0);
  for (const Tensor& t : grads.weights) hand_out(t);
  return result;
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) {
  m.impl("forward", forward);
  m.impl("backward", backward);
}

}  // namespace
}  // namespace fastrnn
