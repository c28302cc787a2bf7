// The derivative of the loss. Where all rows' losses are summed up, forward has already computed the gradients of the
// sum, and all that is left is to multiply them by what comes in. Without a reduction each row has a factor of its own,
// known only now: then, and where gradients are to be differentiated in turn, the backward operator computes everything
// from the operands. Its own derivative is in fastrnn/losses.py.
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/ops/mul.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

namespace fastrnn {
namespace {

using at::Tensor, c10::string_view;
using torch::autograd::AutogradContext, torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

std::tuple<Tensor, Tensor, Tensor, Tensor> call_forward(const Tensor& input, const Tensor& weight, const Tensor& target,
                                                        const OptionalTensor& bias, const OptionalTensor& class_weight,
                                                        string_view reduction, int64_t ignore_index,
                                                        double label_smoothing, c10::List<bool> needs) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("fastrnn::linear_cross_entropy", "")
                             .typed<decltype(call_forward)>();
  return op.call(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing, needs);
}

std::tuple<Tensor, Tensor, Tensor> call_backward(const Tensor& d_loss, const Tensor& input, const Tensor& weight,
                                                 const Tensor& target, const OptionalTensor& bias,
                                                 const OptionalTensor& class_weight, string_view reduction,
                                                 int64_t ignore_index, double label_smoothing, c10::List<bool> needs) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("fastrnn::linear_cross_entropy_backward", "")
                             .typed<decltype(call_backward)>();
  return op.call(d_loss, input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing, needs);
}

OptionalTensor if_defined(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

void check_no_tangent(const OptionalTensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(!torch::autograd::isFwGradDefined(t),
                              "fastrnn's operators have no forward-mode derivatives. Call "
                              "fastrnn.functional.linear_cross_entropy inside the dual level or torch.func.jvp: there "
                              "it runs torch's operators, which have them");
}

bool plain(const Tensor& t) { return !at::isTensorSubclassLike(t) && t.is_cpu(); }

// gradient · factor. Times one it is the gradient itself, which shares its memory with what is saved until one of
// them is written to: usually what is saved is gone by then, and nothing is copied.
Tensor scaled(const Tensor& gradient, const Tensor& factor, at::ScalarType dtype) {
  if (plain(gradient) && plain(factor) && factor.item<double>() == 1)
    return gradient.scalar_type() == dtype ? gradient._lazy_clone() : gradient.to(dtype);
  return at::mul(gradient, factor.to(gradient.scalar_type())).to(dtype);
}

struct LinearCrossEntropy : torch::autograd::Function<LinearCrossEntropy> {
  static variable_list forward(AutogradContext* ctx, const Tensor& input, const Tensor& weight, const Tensor& target,
                               const OptionalTensor& bias, const OptionalTensor& class_weight, string_view reduction,
                               int64_t ignore_index, double label_smoothing) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool each = reduction == "none";
    auto wanted = [each](const OptionalTensor& t) { return !each && t && t->requires_grad(); };
    auto [loss, d_input, d_weight, d_bias] =
        call_forward(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing,
                     c10::List<bool>({wanted(input), wanted(weight), wanted(bias)}));
    ctx->save_for_backward(
        {input, weight, target, bias.value_or(Tensor()), class_weight.value_or(Tensor()), d_input, d_weight, d_bias});
    ctx->saved_data["reduction"] = std::string(reduction);
    ctx->saved_data["ignore_index"] = ignore_index;
    ctx->saved_data["label_smoothing"] = label_smoothing;
    ctx->set_materialize_grads(false);
    ctx->mark_non_differentiable({d_input, d_weight, d_bias});
    return {loss, d_input, d_weight, d_bias};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d) {
    const Tensor& d_loss = d[0];
    variable_list result(8);  // input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing
    if (!d_loss.defined()) return result;
    check_no_tangent(d_loss);
    const variable_list kept = ctx->get_saved_variables();
    const Tensor &input = kept[0], &weight = kept[1], &target = kept[2], &bias = kept[3], &class_weight = kept[4];
    const std::string reduction = ctx->saved_data["reduction"].toStringRef();
    const bool of_input = ctx->needs_input_grad(0), of_weight = ctx->needs_input_grad(1);
    const bool of_bias = bias.defined() && ctx->needs_input_grad(3);
    if (at::GradMode::is_enabled() || reduction == "none") {
      std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
      if (!at::GradMode::is_enabled()) guard.emplace();
      auto [d_input, d_weight, d_bias] =
          call_backward(d_loss, input, weight, target, if_defined(bias), if_defined(class_weight), reduction,
                        ctx->saved_data["ignore_index"].toInt(), ctx->saved_data["label_smoothing"].toDouble(),
                        c10::List<bool>({of_input, of_weight, of_bias}));
      if (of_input) result[0] = d_input;
      if (of_weight) result[1] = d_weight;
      if (of_bias) result[3] = d_bias;
      return result;
    }
    if (of_input) result[0] = scaled(kept[5], d_loss, input.scalar_type());
    if (of_weight) result[1] = scaled(kept[6], d_loss, weight.scalar_type());
    if (of_bias) result[3] = scaled(kept[7], d_loss, bias.scalar_type());
    return result;
  }
};

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& input, const Tensor& weight, const Tensor& target,
                                                   const OptionalTensor& bias, const OptionalTensor& class_weight,
                                                   string_view reduction, int64_t ignore_index, double label_smoothing,
                                                   c10::List<bool> needs) {
  bool recorded = false;  // no early exit: check_no_tangent has to see every tensor
  for (const OptionalTensor& t : {OptionalTensor(input), OptionalTensor(weight), bias, class_weight}) {
    check_no_tangent(t);
    recorded |= t && t->requires_grad();
  }
  TORCH_CHECK_NOT_IMPLEMENTED(!class_weight || !class_weight->requires_grad() || !at::GradMode::is_enabled(),
                              "fastrnn::linear_cross_entropy has no derivative with respect to the class weights. "
                              "Call fastrnn.functional.linear_cross_entropy, or pass weight.detach()");
  if (!recorded || !at::GradMode::is_enabled()) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return call_forward(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing, needs);
  }
  variable_list result =
      LinearCrossEntropy::apply(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing);
  return {result[0], result[1], result[2], result[3]};
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("linear_cross_entropy", forward); }

}  // namespace
}  // namespace fastrnn
