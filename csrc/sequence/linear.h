// A linear layer between recurrent ones, as pointers and sizes: y = b + x Wᵀ.
#pragma once
#include "problem.h"

namespace fastrnn {

struct Linear {
  int64_t rows, inputs, outputs;
  int threads;
  Weights<float> weight;  // packed once and for all (packed.h), one gate
  const float* bias;      // null for zeros
  const float* x;
  int64_t x_row;  // numbers from a row to the next
  float* y;
  int64_t y_row;
};

}  // namespace fastrnn
