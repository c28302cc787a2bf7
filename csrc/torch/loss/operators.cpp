// The CPU's side of the loss operators that csrc/torch/module.cpp declares.
#include <ATen/EmptyTensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "../../cpu/thread_count.h"
#include "../threads.h"
#include "operands.h"

namespace fastrnn {
namespace {

using at::Tensor;

// Undefined: not wanted.
struct LossGradients {
  Tensor input, weight, bias;
  explicit operator bool() const { return input.defined() || weight.defined() || bias.defined(); }
};

// What the kernel says of each row.
struct RowNumbers {
  std::vector<double> target_loss, spread_loss;
};

WeightFormat format(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? WeightFormat::bfloat16
         : dtype == at::kHalf   ? WeightFormat::float16
                                : WeightFormat::same;
}

template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.mutable_data_ptr<T>() : nullptr;
}

// The gradient of every row's loss is a multiple of `scales[i]`.
template <class T>
void run(const LossOperands& o, const std::vector<double>& scales, const LossGradients& gradients, RowNumbers& numbers,
         void (*kernel)(const LossProblem<T>&)) {
  const bool smooth = o.label_smoothing > 0;
  numbers.target_loss.resize(o.rows), numbers.spread_loss.resize(smooth ? o.rows : 0);
  std::vector<T> of_softmax(gradients ? o.rows : 0), of_target(of_softmax), of_classes(of_softmax);
  const double sharp = 1 - o.label_smoothing, share = o.label_smoothing / double(o.classes);
  for (size_t i = 0; i < of_softmax.size(); ++i) {
    if (o.targets[i] < 0) continue;
    of_softmax[i] = T(scales[i] * (smooth ? sharp * o.weights[i] + share * o.class_total : o.weights[i]));
    of_target[i] = T(scales[i] * sharp * o.weights[i]);
    of_classes[i] = T(scales[i] * share);
  }
  const CallThreads threads(wanted_threads());
  LossProblem<T> p{};
  p.threads = threads.count, p.rows = o.rows, p.features = o.features, p.classes = o.classes;
  p.input = o.input.const_data_ptr<T>();
  p.weight = {o.weight.const_data_ptr(), format(o.weight.scalar_type())};
  p.target = o.targets.data();
  if (o.bias.defined()) p.bias = o.bias.const_data_ptr<T>();
  if (o.class_weight.defined()) p.class_weight = o.class_weight.const_data_ptr<T>();
  p.target_loss = numbers.target_loss.data(), p.spread_loss = smooth ? numbers.spread_loss.data() : nullptr;
  if (gradients) p.of_softmax = of_softmax.data(), p.of_target = of_target.data();
  if (gradients && smooth) p.of_classes = of_classes.data();
  p.d_input = data_or_null<T>(gradients.input), p.d_weight = data_or_null<T>(gradients.weight);
  p.d_bias = data_or_null<T>(gradients.bias);
  kernel(p);
}

RowNumbers run(const LossOperands& o, const std::vector<double>& scales, const LossGradients& gradients) {
  RowNumbers numbers;
  if (o.rows == 0) return numbers;
  if (o.computed == at::kDouble)
    run<double>(o, scales, gradients, numbers, loss_kernels().of_double);
  else
    run<float>(o, scales, gradients, numbers, loss_kernels().of_float);
  return numbers;
}

// -w · log softmax of the target, and the same of all classes for label smoothing.
struct RowLosses {
  std::vector<double> sharp, smooth;
};

RowLosses losses(const LossOperands& o, const RowNumbers& numbers) {
  RowLosses found{std::vector<double>(o.rows), std::vector<double>(o.rows)};
  for (int64_t i = 0; i < o.rows; ++i) {
    if (o.targets[i] < 0) continue;
    found.sharp[i] = o.weights[i] * numbers.target_loss[i];
    if (o.label_smoothing > 0) found.smooth[i] = numbers.spread_loss[i];
  }
  return found;
}

double sum(const std::vector<double>& numbers) {
  double all = 0;
  for (double x : numbers) all += x;
  return all;
}

Tensor reduced(const LossOperands& o, const RowLosses& rows) {
  const double smoothing = o.label_smoothing, share = smoothing / double(o.classes);
  auto mixed = [&](double sharp, double smooth) {
    return smoothing > 0 ? (1 - smoothing) * sharp + share * smooth : sharp;
  };
  if (o.reduction == Reduction::none) {
    Tensor loss = at::detail::empty_cpu({o.rows}, at::kDouble);
    double* to = loss.mutable_data_ptr<double>();
    for (int64_t i = 0; i < o.rows; ++i) to[i] = mixed(rows.sharp[i], rows.smooth[i]);
    return loss.to(o.dtype);
  }
  Tensor loss = at::detail::empty_cpu({}, at::kDouble);
  const double divisor = o.reduction == Reduction::mean ? o.total : 1;
  *loss.mutable_data_ptr<double>() = mixed(sum(rows.sharp) / divisor, sum(rows.smooth) / divisor);
  return loss.to(o.dtype);
}

LossGradients gradients_for(const LossOperands& o, const c10::List<bool>& needs) {
  TORCH_CHECK(needs.size() == 3, "Expected needs for input, linear_weight and linear_bias, got ", needs.size());
  TORCH_CHECK(!needs.get(2) || o.bias.defined(), "Expected a linear_bias, whose gradient is asked for");
  auto make = [&](bool wanted, at::IntArrayRef sizes) {
    if (!wanted) return Tensor();
    return o.rows > 0 ? Tensor(at::detail::empty_cpu(sizes, o.computed)) : at::zeros(sizes, o.input.options());
  };
  return {make(needs.get(0), {o.rows, o.features}), make(needs.get(1), {o.classes, o.features}),
          make(needs.get(2), {o.classes})};
}

Tensor or_empty(const Tensor& t, at::ScalarType dtype) {
  return t.defined() ? t.to(dtype) : Tensor(at::detail::empty_cpu({0}, dtype));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& input, const Tensor& weight, const Tensor& target,
                                                   const OptionalTensor& bias, const OptionalTensor& class_weight,
                                                   c10::string_view reduction, int64_t ignore_index,
                                                   double label_smoothing, c10::List<bool> needs) {
  NoThreadsInForkedChild guard;
  const LossOperands o(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing);
  const LossGradients gradients = gradients_for(o, needs);
  TORCH_CHECK(!gradients || o.reduction != Reduction::none,
              "Expected a reduction, where gradients are asked for: without one they depend on the loss's gradient");
  const std::vector<double> scales(o.rows, o.reduction == Reduction::mean ? 1 / o.total : 1);
  const Tensor loss = reduced(o, losses(o, run(o, scales, gradients)));
  return {loss, or_empty(gradients.input, o.computed), or_empty(gradients.weight, o.computed),
          or_empty(gradients.bias, o.computed)};
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& d_loss, const Tensor& input, const Tensor& weight,
                                            const Tensor& target, const OptionalTensor& bias,
                                            const OptionalTensor& class_weight, c10::string_view reduction,
                                            int64_t ignore_index, double label_smoothing, c10::List<bool> needs) {
  NoThreadsInForkedChild guard;
  const LossOperands o(input, weight, target, bias, class_weight, reduction, ignore_index, label_smoothing);
  const bool each = o.reduction == Reduction::none;
  check_sizes(d_loss, each ? at::IntArrayRef{o.rows} : at::IntArrayRef{}, "d_loss");
  check_device(d_loss, at::kCPU, "d_loss");
  check_dtype(d_loss, o.dtype, "d_loss");
  check_in_memory(d_loss, "d_loss");
  const Tensor incoming = d_loss.to(at::kDouble).contiguous();
  const double* from = incoming.const_data_ptr<double>();
  std::vector<double> scales(o.rows);
  for (int64_t i = 0; i < o.rows; ++i)
    scales[i] = each ? from[i] : from[0] / (o.reduction == Reduction::mean ? o.total : 1);
  const LossGradients gradients = gradients_for(o, needs);
  if (gradients) run(o, scales, gradients);
  return {or_empty(gradients.input, o.dtype), or_empty(gradients.weight, o.weight_dtype),
          or_empty(gradients.bias, o.dtype)};
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) {
  m.impl("linear_cross_entropy", forward);
  m.impl("linear_cross_entropy_backward", backward);
}

}  // namespace
}  // namespace fastrnn
