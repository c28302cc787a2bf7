#include "schema.h"

#include <torch/library.h>

// linear_cross_entropy is fastrnn/losses.py's of class indices, input (N, H). With its loss it returns the gradients of
// input, linear_weight and linear_bias that `needs` asks for, in the dtype that they are computed in, for an
// incoming gradient of one. Autograd asks for those that the backward pass will use. The others are empty; without a
// reduction all are. linear_cross_entropy_backward returns them for any incoming gradient, in the dtypes of
// the operands.
TORCH_LIBRARY(fastrnn, m) {
  m.def(fastrnn::InferArguments::schema);
  m.def(fastrnn::InferPackedArguments::schema);
  m.def(fastrnn::ForwardArguments::schema);
  m.def(fastrnn::BackwardArguments::schema);
  m.def(
      "linear_cross_entropy(Tensor input, Tensor linear_weight, Tensor target, Tensor? linear_bias, Tensor? weight, "
      "str reduction, int ignore_index, float label_smoothing, bool[] needs) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "linear_cross_entropy_backward(Tensor d_loss, Tensor input, Tensor linear_weight, Tensor target, "
      "Tensor? linear_bias, Tensor? weight, str reduction, int ignore_index, float label_smoothing, bool[] needs) -> "
      "(Tensor, Tensor, Tensor)");
}
