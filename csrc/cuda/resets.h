// Which rows of a step begin anew: they take the initial state instead of the one that the step before has left.
#pragma once
#include "number.h"

namespace fastrnn::cuda {

// In the GPU's memory, which only kernels read. Null: no row does.
struct Resets {
  const uint8_t* data = nullptr;
  int64_t row = 0;   // bytes from the flag of a row to the next
  int64_t rows = 0;  // that have one

  FASTRNN_DEVICE bool at(int64_t r) const { return data && r < rows && data[r * row]; }
};

}  // namespace fastrnn::cuda
