// Which instruction set runs. Decided once, at the first call.
#pragma once
#include "problem.h"

namespace fastrnn {

// The best set that this processor has; FASTRNN_ISA=generic|avx2|avx512 forces another. Throws std::runtime_error for a
// name that is unknown, or a set that this processor or build lacks.
const Kernels& kernels();

// Numbers per row in Problem::saved. The same for every instruction set.
int64_t saved_width(CellKind cell, int64_t hidden_size, bool projected, int64_t number_size);

// Numbers per row in Problem::checkpoints, likewise.
int64_t checkpoint_width(CellKind cell, int64_t hidden_size, int64_t number_size);

}  // namespace fastrnn
