// Forward and backward tied together.
#pragma once
#include "operators.h"

namespace fastrnn {

// The forward operator: output, h_n, c_n and saved. Autograd knows how they came about, where it records and a tensor
// requires a gradient. A plain call goes to the CPU's passes at once, any other through the dispatcher.
std::vector<at::Tensor> differentiable_forward(ForwardArguments arguments);

// An output for the backward pass, which the user's changes in place must not reach. The two share their memory until
// one of them is written to, so a copy is made only for those who do change it (docs/adr/0013).
at::Tensor protected_from_changes(const at::Tensor& output);

// The operators have no forward-mode derivatives, and say so. Python sends whatever is called among dual numbers to the
// reference (fastrnn/_core/autograd.py); this is for the rest.
void check_no_tangent(const OptionalTensor& t);

}  // namespace fastrnn
