// Which kernels run a layer: what FASTRNN_CUDA_KERNEL asks for, where they serve it.
#pragma once
#include "persistent.h"

namespace fastrnn::cuda {

// The numbers that a layer's tensors have, and whether float32 may be rounded to TF32 in products.
struct Precision {
  Number number;
  bool tf32;
};

// For padded layers of a kind, without a projection. Throws std::invalid_argument where the variable has no meaning.
Regime regime_for(const CellDescription& cell, Precision precision);

}  // namespace fastrnn::cuda
