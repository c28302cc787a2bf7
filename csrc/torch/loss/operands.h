// The operands of a loss, checked: everything that the kernel relies on, so that no call, however wrong, reads out of
// bounds. And the few lines of mathematics that turn a row's numbers into a loss.
#pragma once
#include "../../loss/problem.h"
#include "../layer.h"

namespace fastrnn {

enum class Reduction { none, mean, sum };

struct LossOperands {
  int64_t rows, features, classes;
  at::ScalarType dtype, weight_dtype, computed;          // of the input; of the weight; float32 or float64
  at::Tensor input, weight, target, bias, class_weight;  // contiguous; the last two may be undefined
  Reduction reduction;
  double label_smoothing;
  std::vector<int64_t> targets;  // -1 where the row is ignored
  std::vector<double> weights;   // of each row: its target's class weight, 0 where it is ignored
  double total = 0;              // what the mean divides by: the sum of `weights`
  double class_total = 0;        // the sum of all class weights
  double counted = 0;            // rows that are not ignored

  // Throws c10::Error where something does not fit, c10::IndexError for a target that is no class.
  LossOperands(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& target, const OptionalTensor& bias,
               const OptionalTensor& class_weight, c10::string_view reduction, int64_t ignore_index,
               double label_smoothing);

 private:
  at::Tensor operand(const at::Tensor& t, at::ScalarType expected, at::IntArrayRef sizes, const char* name) const;
  void read_targets(int64_t ignore_index);
};

}  // namespace fastrnn
