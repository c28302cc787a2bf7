// All layers at inference, on the CPU: what the fast path from Python (fast_path.cpp) and the operator `infer` run.
#pragma once
#include "layer.h"

namespace fastrnn {

struct StackResults {
  at::Tensor output, hn, cn;  // the last undefined unless the cell carries c
};

// The arguments are those of one layer, states and weights those of all. Throws c10::Error where something does not
// fit. Input and states in 16 bits are widened, and the results rounded once.
StackResults run_stack(Arguments arguments, int64_t num_layers);

// The same where a backward pass may follow, without dropout, in float32 or float64: states in 16 bits are not widened.
StackResults run_differentiable_stack(const Arguments& arguments, int64_t num_layers);

}  // namespace fastrnn
