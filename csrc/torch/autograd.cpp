// Forward and backward tied together: the derivative of fastrnn::forward is fastrnn::backward. In C++, because the same
// in Python takes longer than a small layer (docs/adr/0001). The derivative of fastrnn::backward itself, for those who
// differentiate twice, is in fastrnn/autograd.py.
#include <ATen/TensorSubclassLikeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include "layer.h"

namespace fastrnn {
namespace {

using at::Tensor, at::TensorList, c10::string_view;
using torch::autograd::AutogradContext, torch::autograd::variable_list;

std::tuple<Tensor, Tensor, Tensor, Tensor> call_forward(string_view cell, const Tensor& input,
                                                        const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                                        const OptionalTensor& c0, TensorList weights, bool biases,
                                                        bool bidirectional, bool batch_first, bool save,
                                                        bool recompute) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::forward", "").typed<decltype(call_forward)>();
  return op.call(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first, save, recompute);
}

std::vector<Tensor> call_backward(string_view cell, const OptionalTensor& d_output, const OptionalTensor& d_hn,
                                  const OptionalTensor& d_cn, const Tensor& input, const OptionalTensor& batch_sizes,
                                  const OptionalTensor& h0, const OptionalTensor& c0, TensorList weights,
                                  const Tensor& output, const Tensor& saved, bool biases, bool bidirectional,
                                  bool batch_first, c10::List<bool> needs) {
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::backward", "").typed<decltype(call_backward)>();
  return op.call(cell, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weights, output, saved, biases, bidirectional,
                 batch_first, needs);
}

// The output for the backward pass, which the user's changes in place must not reach. The two share their memory until
// somebody writes to one of them, so a copy is made only for those who do change it (docs/adr/0013).
Tensor protected_from_changes(const Tensor& output) {
  const bool plain = !at::isTensorSubclassLike(output) && (output.is_cpu() || output.is_cuda()) && output.numel();
  return plain ? output._lazy_clone() : output.clone();
}

// Python sends whatever is called among dual numbers to the reference (fastrnn/autograd.py). This is for the rest.
void check_no_tangent(const OptionalTensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !torch::autograd::isFwGradDefined(t),
      "fastrnn's operators have no forward-mode derivatives. Call the layer, or the function of fastrnn.functional, "
      "inside the dual level or torch.func.jvp: there it runs the plain-torch reference, which has them");
}

OptionalTensor if_defined(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

struct LayerFunction : torch::autograd::Function<LayerFunction> {
  static variable_list forward(AutogradContext* ctx, string_view cell, const Tensor& input,
                               const OptionalTensor& batch_sizes, const OptionalTensor& h0, const OptionalTensor& c0,
                               TensorList weights, bool biases, bool bidirectional, bool batch_first, bool recompute) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [output, hn, cn, saved] =
        call_forward(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first, true, recompute);
    variable_list kept{input,
                       batch_sizes.value_or(Tensor()),
                       h0.value_or(Tensor()),
                       c0.value_or(Tensor()),
                       protected_from_changes(output),
                       saved};
    kept.insert(kept.end(), weights.begin(), weights.end());
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["cell"] = std::string(cell);
    ctx->saved_data["options"] = c10::List<bool>({biases, bidirectional, batch_first});
    ctx->set_materialize_grads(false);
    if (cell_named(cell).carries_c)
      ctx->mark_non_differentiable({saved});
    else
      ctx->mark_non_differentiable({cn, saved});
    return {output, hn, cn, saved};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d) {
    for (const Tensor& t : d) check_no_tangent(t);
    const variable_list kept = ctx->get_saved_variables();
    const Tensor &input = kept[0], &batch_sizes = kept[1], &h0 = kept[2], &c0 = kept[3];
    const TensorList weights(kept.data() + 6, kept.size() - 6);
    const c10::List<bool> options = ctx->saved_data["options"].toBoolList();
    const std::string cell = ctx->saved_data["cell"].toStringRef();

    // Only tensors that were given have an edge to ask.
    size_t edge = 0;
    auto needed = [&](const Tensor& t) { return t.defined() && ctx->needs_input_grad(edge++); };
    c10::List<bool> needs;
    needs.push_back(needed(input));
    if (batch_sizes.defined()) ++edge;
    needs.push_back(needed(h0)), needs.push_back(needed(c0));
    for (const Tensor& w : weights) needs.push_back(needed(w));

    // With create_graph=True the gradients are to be differentiated in turn; else there is nothing to record.
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (!at::GradMode::is_enabled()) guard.emplace();
    std::vector<Tensor> grads = call_backward(cell, if_defined(d[0]), if_defined(d[1]), if_defined(d[2]), input,
                                              if_defined(batch_sizes), if_defined(h0), if_defined(c0), weights, kept[4],
                                              kept[5], options.get(0), options.get(1), options.get(2), needs);
    for (size_t i = 0; i < grads.size(); ++i)
      if (!needs.get(i)) grads[i] = Tensor();

    variable_list result{Tensor(), grads[0], Tensor(), grads[1], grads[2]};  // cell, input, batch_sizes, h0, c0
    result.insert(result.end(), grads.begin() + 3, grads.end());
    result.resize(result.size() + 4);  // biases, bidirectional, batch_first, recompute
    return result;
  }
};

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(string_view cell, const Tensor& input,
                                                   const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                                   const OptionalTensor& c0, TensorList weights, bool biases,
                                                   bool bidirectional, bool batch_first, bool save, bool recompute) {
  auto wants_gradient = [](const OptionalTensor& t) {
    check_no_tangent(t);
    return t && t->requires_grad();
  };
  bool recorded = false;  // no early exit: check_no_tangent has to see every tensor
  for (const OptionalTensor& t : {OptionalTensor(input), h0, c0}) recorded |= wants_gradient(t);
  for (const Tensor& w : weights) recorded |= wants_gradient(w);
  if (!recorded || !at::GradMode::is_enabled()) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return call_forward(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first, save, recompute);
  }
  variable_list result =
      LayerFunction::apply(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first, recompute);
  return {result[0], result[1], result[2], result[3]};
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("forward", forward); }

}  // namespace
}  // namespace fastrnn
