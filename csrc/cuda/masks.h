// Recurrent dropout and zoneout of one step: numbers that kernels multiply by, drawn elsewhere (docs/adr/0039).
#pragma once
#include "number.h"

namespace fastrnn::cuda {

// In the GPU's memory; each may be null.
struct Masks {
  const void* recurrent = nullptr;  // T (rows, output_size): h_{t-1} is multiplied by it before W_hh
  // T (rows, output_size), (rows, hidden_size): how much of h_{t-1} and c_{t-1} the step keeps, from 0 to 1.
  const void *zoneout_h = nullptr, *zoneout_c = nullptr;
  int64_t zoneout_h_row = 0, zoneout_c_row = 0;

  bool any() const { return recurrent || zoneout_h || zoneout_c; }
};

}  // namespace fastrnn::cuda
