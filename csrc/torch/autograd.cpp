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
variable_list given_tensors(const Arguments& a) {
  variable_list given{a.input};
  for (const OptionalTensor* t : {&a.batch_sizes, &a.h0, &a.c0})
    if (*t) given.push_back(**t);
  given.insert(given.end(), a.weights.begin(), a.weights.end());
  return given;
}

// `given` are the tensors of the call once more, where torch looks for them.
struct LayerFunction : torch::autograd::Function<LayerFunction> {
  static variable_list forward(AutogradContext* ctx, const Arguments& a, Stack stack, TensorList given) {
    at::AutoDispatchBelowADInplaceOrView guard;
    stack[ForwardArguments::place_of_save] = true;
    forward_operator().callBoxed(stack);
    const Tensor output = stack[0].toTensor(), hn = stack[1].toTensor(), cn = stack[2].toTensor();
    const Tensor saved = stack[3].toTensor();
    variable_list kept{a.batch_sizes.value_or(Tensor()), a.h0.value_or(Tensor()),
                       a.c0.value_or(Tensor()),          a.input,
                       protected_from_changes(output),   saved};
    kept.insert(kept.end(), a.weights.begin(), a.weights.end());
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["cell"] = a.cell->name;
    c10::List<bool> chosen;
    for (bool Arguments::* option : options) chosen.push_back(a.*option);
    ctx->saved_data["options"] = chosen;
    ctx->set_materialize_grads(false);
    if (a.cell->carries_c)
      ctx->mark_non_differentiable({saved});
    else
      ctx->mark_non_differentiable({cn, saved});
    return {output, hn, cn, saved};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d) {
    for (const Tensor& t : d) check_no_tangent(t);
    const variable_list kept = ctx->get_saved_variables();
    BackwardArguments a(cell_named(ctx->saved_data["cell"].toStringView()));
    a.batch_sizes = if_defined(kept[0]), a.h0 = if_defined(kept[1]), a.c0 = if_defined(kept[2]);
    a.input = kept[3], a.output = kept[4], a.saved = kept[5];
    a.weights.append(kept.begin() + 6, kept.end());
    size_t option = 0;
    for (bool chosen : ctx->saved_data["options"].toBoolList()) a.*options[option++] = chosen;
    a.d_output = if_defined(d[0]), a.d_hn = if_defined(d[1]), a.d_cn = if_defined(d[2]);

    size_t edge = 0;
    auto needed = [&](const OptionalTensor& t) { return t && ctx->needs_input_grad(edge++); };
    a.needs.push_back(needed(a.input));
    if (a.batch_sizes) ++edge;
    a.needs.push_back(needed(a.h0)), a.needs.push_back(needed(a.c0));
    for (const Tensor& w : a.weights) a.needs.push_back(needed(w));

    // With create_graph=True the gradients are to be differentiated in turn; else there is nothing to record.
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (!at::GradMode::is_enabled()) guard.emplace();
    Stack stack;
    a.push(stack);
    backward_operator().callBoxed(stack);
    std::vector<Tensor> grads = stack[0].toTensorVector();
    for (size_t i = 0; i < grads.size(); ++i)
      if (!a.needs.get(i)) grads[i] = Tensor();

    variable_list result{Tensor(), Tensor(), grads[0]};  // arguments, stack, then of the tensors that were given
    if (a.batch_sizes) result.emplace_back();
    if (a.h0) result.push_back(grads[1]);
    if (a.c0) result.push_back(grads[2]);
    result.insert(result.end(), grads.begin() + 3, grads.end());
    return result;
  }
};

void forward(const c10::OperatorHandle& op, Stack* stack) {
  const ForwardArguments a(*stack);
  const variable_list given = given_tensors(a);
  bool recorded = false;  // no early exit: check_no_tangent has to see every tensor
  for (const Tensor& t : given) check_no_tangent(t), recorded |= t.requires_grad();
  if (!recorded || !at::GradMode::is_enabled()) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return op.callBoxed(stack);
  }
  const Stack own(stack->end() - ForwardArguments::count, stack->end());
  variable_list result = LayerFunction::apply(static_cast<const Arguments&>(a), own, TensorList(given));
  torch::jit::drop(*stack, ForwardArguments::count);
  for (Tensor& t : result) torch::jit::push(*stack, std::move(t));
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("forward", torch::CppFunction::makeFromBoxedFunction<forward>()); }

}  // namespace
}  // namespace fastrnn
