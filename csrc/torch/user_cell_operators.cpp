// The operators of users' cells: fastrnn::cell_forward, its derivative fastrnn::cell_backward, tied together here. What
// fastrnn::cell_backward returns is differentiated in fastrnn/_cell/operators.py.
//
// Programs that were exported earlier must still load: a new argument comes last and has a default, and the text of a
// cell gets new words, never others.
#include <ATen/TensorSubclassLikeUtils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "autograd.h"
#include "user_cell_call.h"

namespace fastrnn {

namespace {

using at::Tensor, at::TensorList;
using torch::autograd::AutogradContext, torch::autograd::variable_list;

// Undefined where there are none: torch's AOTInductor does not hand on an empty list.
using OptionalTensors = std::optional<TensorList>;

using Forward = std::tuple<std::vector<Tensor>, std::vector<Tensor>, Tensor>(
    std::string_view program, const Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& lengths,
    const OptionalTensor& resets, OptionalTensors per_step, OptionalTensors states, TensorList weights, bool biases,
    bool every_state, bool save);
using Backward = std::vector<Tensor>(std::string_view program, TensorList d_every, TensorList d_last,
                                     const Tensor& input, const OptionalTensor& batch_sizes,
                                     const OptionalTensor& lengths, const OptionalTensor& resets,
                                     OptionalTensors per_step, OptionalTensors states, TensorList weights, bool biases,
                                     TensorList every, const Tensor& saved, const c10::List<bool>& needs);

// See user_cell_call.h. A caller does not ask for `save`: autograd does. Of the gradients of states, d_every and
// d_last, those that were not given are empty, as results that are not wanted are.
TORCH_LIBRARY_FRAGMENT(fastrnn, m) {
  m.def(
      "cell_forward(str program, Tensor input, Tensor? batch_sizes, Tensor? lengths, Tensor? resets, Tensor[]? "
      "per_step, "
      "Tensor[]? states, Tensor[] weights, bool biases, bool every_state, bool save) -> (Tensor[], Tensor[], Tensor)");
  m.def(
      "cell_backward(str program, Tensor[] d_every, Tensor[] d_last, Tensor input, Tensor? batch_sizes, Tensor? "
      "lengths, Tensor? resets, Tensor[]? per_step, Tensor[]? states, Tensor[] weights, bool biases, Tensor[] every, "
      "Tensor saved, bool[] needs) -> Tensor[]");
}

std::vector<Tensor> listed(const OptionalTensors& tensors) { return tensors ? tensors->vec() : std::vector<Tensor>(); }
OptionalTensors or_none(const std::vector<Tensor>& tensors) {
  return tensors.empty() ? std::nullopt : OptionalTensors(tensors);
}

std::tuple<std::vector<Tensor>, std::vector<Tensor>, Tensor> forward_on_cpu(
    std::string_view program, const Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& lengths,
    const OptionalTensor& resets, OptionalTensors per_step, OptionalTensors states, TensorList weights, bool biases,
    bool every_state, bool save) {
  const UserCellOperands operands{input,          batch_sizes,   lengths, resets, listed(per_step),
                                  listed(states), weights.vec(), biases};
  UserCellResults results = forward(user_cell(program), operands, every_state, save);
  return {std::move(results.every), std::move(results.last), std::move(results.saved)};
}

bool is_empty(const Tensor& t) { return t.dim() == 1 && t.numel() == 0; }

std::vector<Tensor> or_undefined(TensorList tensors) {
  std::vector<Tensor> all;
  for (const Tensor& t : tensors) all.push_back(is_empty(t) ? Tensor() : t);
  return all;
}

std::vector<Tensor> backward_on_cpu(std::string_view program, TensorList d_every, TensorList d_last,
                                    const Tensor& input, const OptionalTensor& batch_sizes,
                                    const OptionalTensor& lengths, const OptionalTensor& resets,
                                    OptionalTensors per_step, OptionalTensors states, TensorList weights, bool biases,
                                    TensorList every, const Tensor& saved, const c10::List<bool>& needs) {
  const UserCellOperands operands{input,          batch_sizes,   lengths, resets, listed(per_step),
                                  listed(states), weights.vec(), biases};
  return backward(user_cell(program), operands, or_undefined(d_every), or_undefined(d_last), every.vec(), saved,
                  {needs.begin(), needs.end()});
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) {
  m.impl("cell_forward", forward_on_cpu);
  m.impl("cell_backward", backward_on_cpu);
}

// By the dispatcher, which finds the kernel, or whatever traces.
std::tuple<std::vector<Tensor>, std::vector<Tensor>, Tensor> dispatch(std::string_view program,
                                                                      const UserCellOperands& a, bool every_state,
                                                                      bool save) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::cell_forward", "").typed<Forward>();
  return op.call(program, a.input, a.batch_sizes, a.lengths, a.resets, or_none(a.per_step), or_none(a.states),
                 a.weights, a.biases, every_state, save);
}

// `given` are the operands that can have a gradient once more, where torch looks for them.
struct UserCellFunction : torch::autograd::Function<UserCellFunction> {
  static variable_list forward(AutogradContext* ctx, std::string_view program, const UserCellOperands& a,
                               bool every_state, TensorList given) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [every, last, saved] = dispatch(program, a, every_state, true);
    variable_list kept(given.begin(), given.end()), blank{saved};
    for (const OptionalTensor* t : {&a.batch_sizes, &a.lengths, &a.resets}) kept.push_back(t->value_or(Tensor()));
    for (const Tensor& t : every) {
      kept.push_back(protected_from_changes(t));
      if (is_empty(t)) blank.push_back(t);  // of a state that is not kept
    }
    kept.push_back(saved);
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["program"] = std::string(program);
    ctx->saved_data["counts"] = std::vector<int64_t>{int64_t(a.per_step.size()), int64_t(a.states.size()),
                                                     int64_t(a.weights.size()), int64_t(every.size())};
    ctx->saved_data["biases"] = a.biases;
    ctx->set_materialize_grads(false);
    ctx->mark_non_differentiable(blank);
    variable_list results = std::move(every);
    results.insert(results.end(), last.begin(), last.end());
    results.push_back(saved);
    return results;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d) {
    for (const Tensor& t : d) check_no_tangent(t);
    const variable_list kept = ctx->get_saved_variables();
    const std::vector<int64_t> counts = ctx->saved_data["counts"].toIntVector();
    auto next = kept.begin();
    const auto take = [&](int64_t count) {
      next += count;
      return variable_list(next - count, next);
    };
    const auto optional = [&]() -> OptionalTensor {
      const Tensor& t = *next++;
      return t.defined() ? OptionalTensor(t) : std::nullopt;
    };
    const Tensor input = *next++;
    const variable_list per_step = take(counts[0]), states = take(counts[1]), weights = take(counts[2]);
    const OptionalTensor batch_sizes = optional(), lengths = optional(), resets = optional();
    const variable_list every = take(counts[3]);
    variable_list gradients[2];  // of the states after every step, and of the last
    for (int64_t i = 0; i < 2 * counts[3]; ++i)
      gradients[i / counts[3]].push_back(d[i].defined() ? d[i] : input.new_empty({0}));
    c10::List<bool> needs;
    const size_t count = 1 + counts[0] + counts[1] + counts[2];
    for (size_t i = 0; i < count; ++i) needs.push_back(ctx->needs_input_grad(i));

    // With create_graph=True the gradients are to be differentiated in turn; else there is nothing to record.
    std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
    if (!at::GradMode::is_enabled()) guard.emplace();
    static const auto op =
        c10::Dispatcher::singleton().findSchemaOrThrow("fastrnn::cell_backward", "").typed<Backward>();
    const std::vector<Tensor> found = op.call(ctx->saved_data["program"].toStringView(), gradients[0], gradients[1],
                                              input, batch_sizes, lengths, resets, or_none(per_step), or_none(states),
                                              weights, ctx->saved_data["biases"].toBool(), every, *next, needs);
    variable_list result(3);  // of the program, the operands and every_state, which have none
    for (size_t i = 0; i < count; ++i) result.push_back(needs.get(i) ? found[i] : Tensor());
    return result;
  }
};

std::tuple<std::vector<Tensor>, std::vector<Tensor>, Tensor> differentiable(
    std::string_view program, const Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& lengths,
    const OptionalTensor& resets, OptionalTensors per_step, OptionalTensors states, TensorList weights, bool biases,
    bool every_state, bool save) {
  const UserCellOperands operands{input,          batch_sizes,   lengths, resets, listed(per_step),
                                  listed(states), weights.vec(), biases};
  const variable_list given = operands.differentiable();
  for (const Tensor& t : given) check_no_tangent(t);
  const auto requires_grad = [](const Tensor& t) { return t.requires_grad(); };
  if (!at::GradMode::is_enabled() || std::none_of(given.begin(), given.end(), requires_grad)) {
    at::AutoDispatchBelowADInplaceOrView guard;
    return dispatch(program, operands, every_state, save);
  }
  const variable_list results = UserCellFunction::apply(program, operands, every_state, TensorList(given));
  const auto middle = results.begin() + (results.size() - 1) / 2;
  return {{results.begin(), middle}, {middle, results.end() - 1}, results.back()};
}

TORCH_LIBRARY_IMPL(fastrnn, Autograd, m) { m.impl("cell_forward", differentiable); }

}  // namespace

}  // namespace fastrnn
