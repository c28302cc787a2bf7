// Forward and backward tied together: the derivative of fastrnn::forward is fastrnn::backward. In C++, because the same
// in Python takes longer than a small layer (docs/adr/0001). The derivative of fastrnn::backward itself, for those who
// differentiate twice, is in fastrnn/_core/autograd.py.
#include "autograd.h"

#include <ATen/TensorSubclassLikeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include <algorithm>
#include <array>

#include "cpu.h"
#include "plain.h"

namespace fastrnn {
namespace {

using at::Tensor, at::TensorList;
using torch::autograd::AutogradContext, torch::autograd::variable_list;
using torch::jit::Stack;

ForwardResults forward_by_dispatcher(const ForwardArguments& a) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::forward", "");
  Stack stack;
  a.copy_to(stack);
  op.callBoxed(stack);
  return {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor(), stack[3].toTensor()};
}

std::vector<Tensor> backward_by_dispatcher(const BackwardArguments& a) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::backward", "");
  Stack stack;
  a.copy_to(stack);
  op.callBoxed(stack);
  return stack[0].toTensorVector();
}

// Whether a pass may be called without the dispatcher, which takes 2 us for the two of a layer.
bool is_plain_call(TensorList tensors) {
  if (!unobserved()) return false;
  for (const Tensor& t : tensors)
    if (t.defined() && !is_plain(t)) return false;
  return true;
}

ForwardResults run_forward(const ForwardArguments& a, TensorList given) {
  return is_plain_call(given) ? forward(cpu::device, a) : forward_by_dispatcher(a);
}

OptionalTensor if_defined(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

// The tensors of a call that may be missing: the states, and what has no gradient.
std::array<OptionalTensor*, 8> optional_tensors(Arguments& a) {
  return {&a.batch_sizes, &a.h0, &a.c0, &a.lengths, &a.resets, &a.recurrent_mask, &a.zoneout_h, &a.zoneout_c};
}

// The tensors of a call that were given, in one order here and below. Only these have an edge to ask.
variable_list given_tensors(Arguments& a) {
  variable_list given{a.input};
  for (const OptionalTensor* t : optional_tensors(a))
    if (*t) given.push_back(**t);
  given.insert(given.end(), a.weights.begin(), a.weights.end());
  return given;
}

// `given` are the tensors of the call once more, where torch looks for them.
struct LayerFunction : torch::autograd::Function<LayerFunction> {
  static variable_list forward(AutogradContext* ctx, ForwardArguments& a, TensorList given) {
    at::AutoDispatchBelowADInplaceOrView guard;
    a.save = true;
    auto [output, hn, cn, saved] = run_forward(a, given);
    variable_list kept{std::move(a.input), protected_from_changes(output), saved};
    for (OptionalTensor* t : optional_tensors(a)) kept.push_back(*t ? std::move(**t) : Tensor());
    kept.insert(kept.end(), std::make_move_iterator(a.weights.begin()), std::make_move_iterator(a.weights.end()));
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["cell"] = a.cell->name;
    c10::List<bool> chosen;
    for (bool Arguments::* option : options) chosen.push_back(a.*option);
    ctx->saved_data["options"] = std::move(chosen);
    ctx->saved_data["heads"] = a.heads;
    ctx->set_materialize_grads(false);
    if (a.cell->carries_c)
      ctx->mark_non_differentiable({saved});
    else
      ctx->mark_non_differentiable({cn, saved});
    return {std::move(output), std::move(hn), std::move(cn), std::move(saved)};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d) {
    for (const Tensor& t : d) check_no_tangent(t);
    variable_list kept = ctx->get_saved_variables();
    // With create_graph=True the gradients are to be differentiated in turn; else there is nothing to record.
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (!at::GradMode::is_enabled()) guard.emplace();
    const bool plain = guard && is_plain_call(d) && is_plain_call(kept);
    BackwardArguments a(cell_named(ctx->saved_data["cell"].toStringView()));
    a.input = std::move(kept[0]), a.output = std::move(kept[1]), a.saved = std::move(kept[2]);
    size_t place = 3;
    for (OptionalTensor* t : optional_tensors(a)) *t = if_defined(kept[place++]);
    a.weights.append(std::make_move_iterator(kept.begin() + place), std::make_move_iterator(kept.end()));
    const c10::List<bool> chosen = ctx->saved_data["options"].toBoolList();
    for (size_t i = 0; i < chosen.size(); ++i) a.*options[i] = chosen.get(i);
    a.heads = ctx->saved_data["heads"].toInt();
    a.d_output = if_defined(d[0]), a.d_hn = if_defined(d[1]), a.d_cn = if_defined(d[2]);

    constexpr size_t none = -1;
    std::vector<size_t> gradient_of;  // for each tensor that was given its place among the gradients, or none
    auto variable = [&](bool is_given) {
      a.needs.push_back(is_given && ctx->needs_input_grad(gradient_of.size()));
      if (is_given) gradient_of.push_back(a.needs.size() - 1);
    };
    variable(true);
    for (const OptionalTensor* t : optional_tensors(a)) {
      if (t == &a.h0 || t == &a.c0)
        variable(t->has_value());
      else if (*t)
        gradient_of.push_back(none);
    }
    for (size_t i = 0; i < a.weights.size(); ++i) variable(true);

    std::vector<Tensor> grads = plain ? fastrnn::backward(cpu::device, a) : backward_by_dispatcher(a);
    variable_list result{Tensor()};  // of the call, then of the tensors that were given
    for (size_t place : gradient_of)
      result.push_back(place != none && a.needs[place] ? std::move(grads[place]) : Tensor());
    return result;
  }
};

void forward(const c10::OperatorHandle&, Stack* stack) {
  ForwardArguments arguments(*stack);
  torch::jit::drop(*stack, ForwardArguments::count);
  for (const Tensor& t : given_tensors(arguments)) check_no_tangent(t);
  for (Tensor& t : differentiable_forward(std::move(arguments))) torch::jit::push(*stack, std::move(t));
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("forward", torch::CppFunction::makeFromBoxedFunction<forward>()); }

}  // namespace

Tensor protected_from_changes(const Tensor& output) {
  const bool plain = !at::isTensorSubclassLike(output) && (output.is_cpu() || output.is_cuda()) && output.numel();
  return plain ? output._lazy_clone() : output.clone();
}

void check_no_tangent(const OptionalTensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !torch::autograd::isFwGradDefined(t),
      "fastrnn's operators have no forward-mode derivatives. Call the layer, or the function of fastrnn.functional, "
      "inside the dual level or torch.func.jvp: there it runs the plain-torch reference, which has them");
}

variable_list differentiable_forward(ForwardArguments a) {
  const variable_list given = given_tensors(a);
  auto requires_grad = [](const Tensor& t) { return t.requires_grad(); };
  if (at::GradMode::is_enabled() && std::any_of(given.begin(), given.end(), requires_grad))
    return LayerFunction::apply(a, TensorList(given));
  at::AutoDispatchBelowADInplaceOrView guard;
  ForwardResults results = run_forward(a, given);
  return {std::move(results.output), std::move(results.hn), std::move(results.cn), std::move(results.saved)};
}

}  // namespace fastrnn
