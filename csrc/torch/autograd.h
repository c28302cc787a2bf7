// Forward and backward tied together.
#pragma once
#include "operators.h"

namespace fastrnn {

// The forward operator: output, h_n, c_n and saved. Autograd knows how they came about, where it records and a tensor
// requires a gradient. A plain call goes to the CPU's passes at once, any other through the dispatcher.
std::vector<at::Tensor> differentiable_forward(ForwardArguments arguments);

}  // namespace fastrnn
