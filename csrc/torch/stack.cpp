#include "stack.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/cat.h>
#include <torch/library.h>

#include "../cpu/kernel_table.h"
#include "autograd.h"
#include "cpu.h"
#include "schema.h"
#include "threads.h"

namespace fastrnn {

using at::Tensor;

namespace {

// Calls run(arguments, i) for layer i on the output of the one below, which run returns.
template <class Run>
void each_layer(const Arguments& stack, int64_t num_layers, Run run) {
  check_weight_count(stack, num_layers);
  TORCH_CHECK_VALUE(!stack.every_state || num_layers == 1, "Expected every_state of one layer, got ", num_layers,
                    " layers; call the operator for each of them");
  const int64_t per_layer = int64_t(stack.weights.size()) / num_layers;
  const int64_t directions = stack.bidirectional ? 2 : 1, states = num_layers * directions;
  for (const OptionalTensor* state : {&stack.h0, &stack.c0})
    TORCH_CHECK(!*state || ((*state)->dim() == 3 && (*state)->size(0) == states), "Expected states of size [", states,
                ", batch, features], of ", num_layers, " layers with ", directions, " direction(s), got ",
                (*state)->sizes());
  if (num_layers == 1) return (void)run(stack, 0);
  Arguments one = stack;
  for (int64_t i = 0; i < num_layers; ++i) {
    auto of_layer = [&](const OptionalTensor& state) {
      return state ? state->narrow(0, i * directions, directions) : state;
    };
    one.h0 = of_layer(stack.h0), one.c0 = of_layer(stack.c0);
    one.weights.assign(stack.weights.begin() + i * per_layer, stack.weights.begin() + (i + 1) * per_layer);
    one.input = run(one, i);
    one.input_size = one.input.size(-1);
  }
}

// `dtype`: of the output, which is between layers that of the states.
StackResults run_layers(const Arguments& stack, int64_t num_layers, at::ScalarType dtype) {
  const int64_t directions = stack.bidirectional ? 2 : 1, states = num_layers * directions;
  StackResults results{};
  each_layer(stack, num_layers, [&](const Arguments& arguments, int64_t i) {
    const Layer layer(arguments, true);
    if (i == 0) {
      results.hn = layer.empty({states, layer.batch, layer.output_size});
      if (layer.cell.carries_c) results.cn = layer.empty({states, layer.batch, layer.hidden_size});
    }
    // A layer of another size than the first has no place among the states.
    check_sizes(results.hn, {states, layer.batch, layer.output_size}, "h_n");
    if (results.cn.defined()) check_sizes(results.cn, {states, layer.batch, layer.hidden_size}, "c_n");
    Tensor output = layer.empty_output(i == num_layers - 1 ? dtype : layer.dtype);
    cpu::forward(layer, output, results.hn, results.cn, i * directions, Tensor());
    return results.output = output;
  });
  return results;
}

bool narrow(at::ScalarType dtype) { return dtype == at::kBFloat16 || dtype == at::kHalf; }

template <class To, class From>
void convert(const Tensor& from, const Tensor& to) {
  const From* source = from.const_data_ptr<From>();
  To* target = to.mutable_data_ptr<To>();
  for (int64_t i = 0; i < from.numel(); ++i) target[i] = static_cast<To>(source[i]);
}

// t.to(dtype) between float32 and 16 bits. A few numbers by a loop: the dispatcher takes a microsecond for each of the
// tensors of a step, which takes six.
Tensor converted(const Tensor& t, at::ScalarType dtype) {
  check_in_memory(t, "an operand");
  if (t.numel() > 1024 || !t.is_contiguous()) return t.to(dtype);
  const Tensor result = at::detail::empty_cpu(t.sizes(), dtype);
  const bool widens = dtype == at::kFloat;
  if ((widens ? t.scalar_type() : dtype) == at::kHalf)
    (widens ? convert<float, at::Half> : convert<at::Half, float>)(t, result);
  else
    (widens ? convert<float, at::BFloat16> : convert<at::BFloat16, float>)(t, result);
  return result;
}

void check_input_dtype(const InferArguments& a) {
  const at::ScalarType dtype = a.input.scalar_type();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kDouble, "Expected input of dtype float32 or float64, got ",
              name_of(dtype));
}
void check_input_dtype(const InferPackedArguments&) {}  // Layer does

// The operators infer and infer_packed.
template <class Infer>
void infer(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  Infer a(*stack);
  check_input_dtype(a);
  StackResults results = run_stack(a, a.num_layers);
  if (!results.cn.defined()) results.cn = at::detail::empty_cpu({0}, a.input.scalar_type());
  torch::jit::drop(*stack, Infer::count);
  torch::jit::push(*stack, std::move(results.output), std::move(results.hn), std::move(results.cn));
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) {
  m.impl("infer", torch::CppFunction::makeFromBoxedFunction<infer<InferArguments>>());
  m.impl("infer_packed", torch::CppFunction::makeFromBoxedFunction<infer<InferPackedArguments>>());
}

}  // namespace

StackResults run_stack(Arguments stack, int64_t num_layers) {
  NoThreadsInForkedChild alone;
  const at::ScalarType dtype = stack.input.scalar_type();
  if (!narrow(dtype)) return run_layers(stack, num_layers, dtype);
  // Narrow weights are read as they are. So is the input where the kernels multiply bfloat16, and they write the
  // output. Packed bfloat16 weights leave rows of float32 as they are, however many: the input's dtype decides.
  const bool multiplies = !is_packed(stack.format) || stack.format == WeightFormat::packed_bfloat16;
  stack.rounds_rows = dtype == at::kBFloat16 && multiplies && kernels().rows_of_bfloat16;
  const bool narrow_rows = stack.rounds_rows && !stack.every_state;
  if (!narrow_rows) stack.input = converted(stack.input, at::kFloat);
  for (OptionalTensor* state : {&stack.h0, &stack.c0})
    if (*state) check_dtype(**state, dtype, "state"), *state = converted(**state, at::kFloat);
  StackResults results = run_layers(stack, num_layers, narrow_rows ? dtype : at::kFloat);
  for (Tensor* t : {&results.output, &results.hn, &results.cn})
    if (t->defined() && t->scalar_type() != dtype) *t = converted(*t, dtype);
  return results;
}

StackResults run_differentiable_stack(const Arguments& stack, int64_t num_layers) {
  StackResults results{};
  std::vector<Tensor> hn, cn;
  each_layer(stack, num_layers, [&](const Arguments& arguments, int64_t) {
    std::vector<Tensor> found = differentiable_forward(ForwardArguments(arguments));
    hn.push_back(std::move(found[1])), cn.push_back(std::move(found[2]));
    return results.output = std::move(found[0]);
  });
  auto joined = [](std::vector<Tensor>& states) { return states.size() == 1 ? states[0] : at::cat(states); };
  results.hn = joined(hn);
  if (stack.cell->carries_c) results.cn = joined(cn);
  return results;
}

}  // namespace fastrnn
