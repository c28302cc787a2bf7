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

// Whether torch's operator is measured faster for an LSTM in bfloat16: where the processor has instructions for it,
// which the kernels here do not use, and the batch is large. AMD Zen 5, two threads, T32, torch's time over ours in
// inference and training: B8 H256 0.74 and 1.07, B16 H256 0.62 and 0.81, B32 H128 0.80 and 0.83, B64 H64 1.11 and 0.92.
bool torch_is_faster(int64_t times, int64_t batch, int64_t hidden_size);

}  // namespace fastrnn
