#include "operands.h"

namespace fastrnn {

using at::Tensor;

namespace {

Reduction reduction_named(c10::string_view name) {
  if (name == "none") return Reduction::none;
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  TORCH_CHECK_VALUE(false, "reduction must be none, mean or sum, got ", name);
}

bool narrow(at::ScalarType dtype) { return dtype == at::kBFloat16 || dtype == at::kHalf; }

}  // namespace

LossOperands::LossOperands(const Tensor& input_, const Tensor& weight_, const Tensor& target_,
                           const OptionalTensor& bias_, const OptionalTensor& class_weight_,
                           c10::string_view reduction_, int64_t ignore_index, double label_smoothing)
    : dtype(input_.scalar_type()), weight_dtype(dtype), computed(dtype == at::kDouble ? at::kDouble : at::kFloat),
      reduction(reduction_named(reduction_)), label_smoothing(label_smoothing) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kDouble || narrow(dtype),
              "Expected input of dtype float32, float64, bfloat16 or float16, got ", name_of(dtype));
  TORCH_CHECK(input_.dim() == 2 && weight_.dim() == 2, "Expected input and linear_weight to have 2 dimensions, got ",
              input_.dim(), " and ", weight_.dim());
  rows = input_.size(0), features = input_.size(1), classes = weight_.size(0);
  TORCH_CHECK(features > 0 && classes > 0, "Expected sizes greater than zero, got linear_weight of size ",
              weight_.sizes());
  TORCH_CHECK(label_smoothing >= 0 && label_smoothing <= 1, "Expected label_smoothing between 0 and 1, got ",
              label_smoothing);
  if (dtype == at::kFloat && narrow(weight_.scalar_type())) weight_dtype = weight_.scalar_type();
  input = operand(input_, dtype, {rows, features}, "input").to(computed);
  weight = operand(weight_, weight_dtype, {classes, features}, "linear_weight");
  target = operand(target_, at::kLong, {rows}, "target");
  if (bias_) bias = operand(*bias_, dtype, {classes}, "linear_bias").to(computed);
  if (class_weight_) class_weight = operand(*class_weight_, dtype, {classes}, "weight").to(computed);
  read_targets(ignore_index);
}

Tensor LossOperands::operand(const Tensor& t, at::ScalarType expected, at::IntArrayRef sizes, const char* name) const {
  check_sizes(t, sizes, name);
  check_device(t, at::kCPU, name);
  check_dtype(t, expected, name);
  check_in_memory(t, name);
  const bool aligned = reinterpret_cast<uintptr_t>(t.const_data_ptr()) % t.itemsize() == 0;
  return aligned ? t.contiguous() : t.clone(at::MemoryFormat::Contiguous);
}

void LossOperands::read_targets(int64_t ignore_index) {
  std::vector<double> of_classes;
  if (class_weight.defined()) {
    const Tensor in_double = class_weight.to(at::kDouble);
    of_classes.assign(in_double.const_data_ptr<double>(), in_double.const_data_ptr<double>() + classes);
    for (double w : of_classes) class_total += w;
  } else {
    class_total = double(classes);
  }
  const int64_t* given = target.const_data_ptr<int64_t>();
  targets.assign(given, given + rows);
  weights.assign(rows, 0);
  for (int64_t i = 0; i < rows; ++i) {
    if (targets[i] == ignore_index) {
      targets[i] = -1;
      continue;
    }
    TORCH_CHECK_INDEX(targets[i] >= 0 && targets[i] < classes, "Target ", targets[i], " is out of bounds.");
    weights[i] = class_weight.defined() ? of_classes[targets[i]] : 1;
    total += weights[i], ++counted;
  }
}

}  // namespace fastrnn
