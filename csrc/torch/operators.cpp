#include "operators.h"

#include <ATen/ops/zeros.h>

#include "threads.h"

namespace fastrnn {

using at::Tensor;

namespace {

void check_served(const Device& device, const Arguments& a) {
  TORCH_CHECK(device.serves(a.input.scalar_type()), "Expected input of dtype ", device.dtypes, ", got ",
              name_of(a.input.scalar_type()));
  TORCH_CHECK_NOT_IMPLEMENTED(device.takes_lengths || !a.lengths, "Expected packed input with batch_sizes on ",
                              a.input.device(), ", got padded input with lengths; the layers pack it there");
}

Tensor contiguous(const Tensor& t) { return t.defined() ? t.contiguous() : t; }
Tensor rows_contiguous(const Tensor& t) { return t.defined() && t.numel() && t.stride(-1) != 1 ? t.contiguous() : t; }

}  // namespace

ForwardResults forward(const Device& device, const ForwardArguments& a) {
  NoThreadsInForkedChild guard;
  const Layer layer(a);
  check_served(device, a);
  Tensor output = layer.empty_output();
  Tensor hn = layer.empty({layer.directions, layer.batch, layer.output_size}), cn, saved;
  if (layer.cell.carries_c) cn = layer.empty({layer.directions, layer.batch, layer.hidden_size});
  if (a.save) saved = layer.empty(device.saved_sizes(layer), device.saved_dtype(layer.dtype));
  if (layer.batch > 0) device.forward(layer, output, hn, cn, saved);
  if (!cn.defined()) cn = layer.empty({0});
  if (!saved.defined()) saved = layer.empty({0});
  return {std::move(output), std::move(hn), std::move(cn), std::move(saved)};
}

std::vector<Tensor> backward(const Device& device, const BackwardArguments& a) {
  NoThreadsInForkedChild guard;
  const Layer layer(a);
  check_served(device, a);
  TORCH_CHECK(a.needs.size() == 3 + a.weights.size(), "Expected needs for input, h0, c0 and ", a.weights.size(),
              " weights, got ", a.needs.size());
  const Tensor blank = layer.empty_output();
  auto incoming = [&](const OptionalTensor& t, at::IntArrayRef sizes, const char* name) {
    return t ? layer.operand(*t, layer.dtype, sizes, name) : Tensor();
  };
  const Tensor output = rows_contiguous(incoming(a.output, blank.sizes(), "output"));
  Gradients gradients;
  gradients.output = rows_contiguous(incoming(a.d_output, blank.sizes(), "d_output"));
  gradients.hn = contiguous(incoming(a.d_hn, {layer.directions, layer.batch, layer.output_size}, "d_hn"));
  TORCH_CHECK(!a.d_cn || layer.cell.carries_c, "Expected no d_cn, got one: ", layer.cell.name, " has no state c");
  gradients.cn = contiguous(incoming(a.d_cn, {layer.directions, layer.batch, layer.hidden_size}, "d_cn"));
  check_sizes(a.saved, device.saved_sizes(layer), "saved");
  check_device(a.saved, layer.device, "saved");
  check_in_memory(a.saved, "saved");
  TORCH_CHECK(a.saved.scalar_type() == device.saved_dtype(layer.dtype) && a.saved.is_contiguous(),
              "Expected saved as forward returned it");

  TORCH_CHECK(!a.groups || (device.sums_by_group && !a.recompute),
              "Expected groups=0 with recompute and elsewhere than on the cpu, got ", a.groups, " on ", layer.device);
  for (const int64_t rows : layer.active)
    TORCH_CHECK(!a.groups || (a.groups > 0 && rows % a.groups == 0), "Expected groups that divide the ", rows,
                " rows of a step, or 0, got ", a.groups);
  for (size_t b = 0; a.groups && b < layer.row_of.size(); ++b)
    TORCH_CHECK(layer.row_of[b] % a.groups == int64_t(b) % a.groups, "Expected lengths that are the same in all ",
                a.groups, " groups of rows");
  size_t next = 0;
  auto wanted = [&](at::IntArrayRef sizes) {
    if (!a.needs[next++]) return Tensor();
    return layer.rows > 0 ? layer.empty(sizes) : at::zeros(sizes, layer.input.options());
  };
  auto wanted_of_groups = [&](at::IntArrayRef sizes) {
    std::vector<int64_t> all(sizes.begin(), sizes.end());
    all.insert(all.begin(), a.groups);
    return wanted(all);
  };
  gradients.groups = a.groups;
  gradients.input = wanted(layer.input.sizes());
  gradients.h0 = layer.h0 ? wanted(layer.h0->sizes()) : (++next, Tensor());
  gradients.c0 = layer.c0 ? wanted(layer.c0->sizes()) : (++next, Tensor());
  for (int64_t d = 0; d < layer.directions; ++d)
    layer.each_weight(gradients.weights[d], a.biases, [&](Tensor& gradient, at::IntArrayRef sizes, const char*) {
      gradient = a.groups ? wanted_of_groups(sizes) : wanted(sizes);
    });
  if (layer.batch > 0) device.backward(layer, output, a.saved, gradients);

  std::vector<Tensor> result;
  auto add = [&](const Tensor& t) { result.push_back(t.defined() ? t : layer.empty({0})); };
  add(gradients.input), add(gradients.h0), add(gradients.c0);
  for (int64_t d = 0; d < layer.directions; ++d)
    layer.each_weight(gradients.weights[d], a.biases, [&](Tensor& gradient, at::IntArrayRef, const char*) {
      add(gradient.defined() ? gradient.to(layer.weight_dtype) : gradient);
    });
  return result;
}

}  // namespace fastrnn
