// Forward and backward tied together: the derivative of fastrnn::forward is fastrnn::backward. In C++, because the same
// in Python takes longer than a small layer (docs/adr/0001). The derivative of fastrnn::backward itself, for those who
// differentiate twice, is in fastrnn/_core/autograd.py.
#include <ATen/TensorSubclassLikeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/library.h>

#include "schema.h"

namespace fastrnn {
namespace {

using at::Tensor, at::TensorList;
using torch::autograd::AutogradContext, torch::autograd::variable_list;
using torch::jit::Stack;

const c10::OperatorHandle& forward_operator() {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::forward", "");
  return op;
}
const c10::OperatorHandle& backward_operator() {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::backward", "");
  return op;
}

// The output for the backward pass, which the user's changes in place must not reach. The two share their memory until
// one of them is written to, so a copy is made only for those who do change it (docs/adr/0013).
Tensor protected_from_changes(const Tensor& output) {
  const bool plain = !at::isTensorSubclassLike(output) && (output.is_cpu() || output.is_cuda()) && output.numel();
  return plain ? output._lazy_clone() : output.clone();
}

// Python sends whatever is called among dual numbers to the reference (fastrnn/_core/autograd.py). This is for the
// rest.
void check_no_tangent(const OptionalTensor& t) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      !torch::autograd::isFwGradDefined(t),
      "fastrnn's operators have no forward-mode derivatives. Call the layer, or the function of fastrnn.functional, "
      "inside the dual level or torch.func.jvp: there it runs the plain-torch reference, which has them");
}

OptionalTensor if_defined(const Tensor& t) { return t.defined() ? OptionalTensor(t) : std::nullopt; }

// The tensors of a call that were given, in the schema's order. Only these have an edge to ask.
variable_list given_tensors(const Stack& stack) {
  variable_list given;
  for (auto value = stack.end() - ForwardArguments::count; value != stack.end(); ++value)
    if (value->isTensor())
      given.push_back(value->toTensor());
    else if (value->isTensorList())
      for (const Tensor& t : value->toTensorVector()) given.push_back(t);
  return given;
}

// `given` are the tensors of the call once more, where torch looks for them.
struct LayerFunction : torch::autograd::Function<LayerFunction> {
  static variable_list forward(AutogradContext* ctx, Stack& call, TensorList given) {
    at::AutoDispatchBelowADInplaceOrView guard;
    Stack stack = call;
    stack[ForwardArguments::place_of_save] = true;
    forward_operator().callBoxed(stack);
    Tensor output = stack[0].toTensor(), hn = stack[1].toTensor(), cn = stack[2].toTensor();
    Tensor saved = stack[3].toTensor();
    ForwardArguments a(call);
    variable_list kept{std::move(a.input), protected_from_changes(output), saved};
    for (OptionalTensor* t : {&a.batch_sizes, &a.h0, &a.c0}) kept.push_back(*t ? std::move(**t) : Tensor());
    kept.insert(kept.end(), std::make_move_iterator(a.weights.begin()), std::make_move_iterator(a.weights.end()));
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["cell"] = a.cell->name;
    c10::List<bool> chosen;
    for (bool Arguments::* option : options) chosen.push_back(a.*option);
    ctx->saved_data["options"] = std::move(chosen);
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
    BackwardArguments a(cell_named(ctx->saved_data["cell"].toStringView()));
    a.input = std::move(kept[0]), a.output = std::move(kept[1]), a.saved = std::move(kept[2]);
    a.batch_sizes = if_defined(kept[3]), a.h0 = if_defined(kept[4]), a.c0 = if_defined(kept[5]);
    a.weights.append(std::make_move_iterator(kept.begin() + 6), std::make_move_iterator(kept.end()));
    const c10::List<bool> chosen = ctx->saved_data["options"].toBoolList();
    for (size_t i = 0; i < chosen.size(); ++i) a.*options[i] = chosen.get(i);
    a.d_output = if_defined(d[0]), a.d_hn = if_defined(d[1]), a.d_cn = if_defined(d[2]);

    size_t edge = 0;
    std::vector<bool> given;  // in the order of the gradients, with batch_sizes after the input
    auto add = [&](bool is_given, bool is_variable) {
      const bool needed = is_given && ctx->needs_input_grad(edge);
      edge += is_given, given.push_back(is_given);
      if (is_variable) a.needs.push_back(needed);
    };
    add(true, true), add(a.batch_sizes.has_value(), false), add(a.h0.has_value(), true), add(a.c0.has_value(), true);
    for (size_t i = 0; i < a.weights.size(); ++i) add(true, true);
    const c10::List<bool> needs = a.needs;

    // With create_graph=True the gradients are to be differentiated in turn; else there is nothing to record.
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (!at::GradMode::is_enabled()) guard.emplace();
    Stack stack;
    std::move(a).move_to(stack);
    backward_operator().callBoxed(stack);
    std::vector<Tensor> grads = stack[0].toTensorVector();
    for (size_t i = 0; i < grads.size(); ++i)
      if (!needs.get(i)) grads[i] = Tensor();
    grads.insert(grads.begin() + 1, Tensor());  // of batch_sizes

    variable_list result{Tensor()};  // of the call, then of the tensors that were given
    for (size_t i = 0; i < grads.size(); ++i)
      if (given[i]) result.push_back(std::move(grads[i]));
    return result;
  }
};

void forward(const c10::OperatorHandle& op, Stack* stack) {
  const variable_list given = given_tensors(*stack);
  bool recorded = false;  // no early exit: check_no_tangent has to see every tensor
  for (const Tensor& t : given) check_no_tangent(t), recorded |= t.requires_grad();
  if (!recorded || !at::GradMode::is_enabled()) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return op.callBoxed(stack);
  }
  const auto first = stack->end() - ForwardArguments::count;
  Stack call(std::make_move_iterator(first), std::make_move_iterator(stack->end()));
  stack->erase(first, stack->end());
  for (Tensor& t : LayerFunction::apply(call, TensorList(given))) torch::jit::push(*stack, std::move(t));
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("forward", torch::CppFunction::makeFromBoxedFunction<forward>()); }

}  // namespace
}  // namespace fastrnn
