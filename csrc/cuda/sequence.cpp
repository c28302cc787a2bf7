#include "sequence.h"

#include <stdexcept>
#include <string>

namespace fastrnn::cuda {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears it, or torch would report it again at a later kernel of its own
  throw std::runtime_error(std::string("CUDA kernel launch failed: ") + cudaGetErrorString(error) +
                           ". Unset FASTRNN_CUDA_KERNEL to run torch's own operator instead");
}

int64_t saved_row(const CellDescription& cell, int64_t hidden_size, Saves saves) {
  const int hidden = saves.zones_c + (saves.zones_h && cell.goes_back_from_h);  // by zoneout
  if (cell.normalized) return (cell.saves - 1 + hidden) * hidden_size + deviations_saved;
  return (cell.saves + saves.projected + hidden) * hidden_size;
}

// At least 8, and rows enough for full products.
int64_t steps_per_checkpoint(int64_t batch) {
  constexpr int64_t least_steps = 8, enough_rows = 2048;
  return std::max(least_steps, (enough_rows + batch - 1) / std::max<int64_t>(1, batch));
}

}  // namespace fastrnn::cuda
