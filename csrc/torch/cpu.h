// Layers on the CPU.
#pragma once
#include "operators.h"

namespace fastrnn::cpu {

extern const Device device;

// Runs the forward kernels. hn and cn hold the states of a whole stack, of which this layer's begin at `first`.
void forward(const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn, int64_t first,
             const at::Tensor& saved);

}  // namespace fastrnn::cpu
