// The loss compiled for one instruction set. Included by the kernels_*.cpp here and by nothing else.
#pragma once
#include "linear_cross_entropy.h"

#define FASTRNN_STRING_(x) #x
#define FASTRNN_STRING(x) FASTRNN_STRING_(x)

namespace fastrnn::FASTRNN_TARGET {

template <class T>
void linear_cross_entropy(const LossProblem<T>& p) {
  LinearCrossEntropy<T>(p).run();
}

extern const LossKernels loss_kernels;
const LossKernels loss_kernels = {FASTRNN_STRING(FASTRNN_TARGET), linear_cross_entropy<float>,
                                  linear_cross_entropy<double>};

}  // namespace fastrnn::FASTRNN_TARGET
