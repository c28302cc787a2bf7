// All layers at inference, on the CPU: what the fast path from Python (fast_path.cpp) and the operator `infer` run.
#pragma once
#include "layer.h"

namespace fastrnn {

// The operands are held for the time of the call: another thread may drop them meanwhile.
struct Stack {
  const CellDescription* cell = nullptr;
  at::Tensor input;
  OptionalTensor h0, c0;
  c10::SmallVector<at::Tensor, 4> weights;  // of all layers
  OptionalTensor batch_sizes;
  int64_t num_layers = 1;
  bool biases = true, bidirectional = false, batch_first = false;
};

struct StackResults {
  at::Tensor output, hn, cn;  // the last undefined unless the cell carries c
};

// Throws c10::Error where something does not fit. Input and states in 16 bits are widened, and the results rounded
// once.
StackResults run_stack(Stack stack);

// Whether torch's operator is measured faster for an LSTM in bfloat16: where the processor has instructions for it,
// which the kernels here do not use, and the batch is large. AMD Zen 5, two threads, T32, torch's time over ours in
// inference and training: B8 H256 0.74 and 1.07, B16 H256 0.62 and 0.81, B32 H128 0.80 and 0.83, B64 H64 1.11 and 0.92.
bool torch_is_faster(int64_t times, int64_t batch, int64_t hidden_size);

}  // namespace fastrnn
