// The kernels of the instruction set that runs, and the sizes of what they keep.
#pragma once
#include "problem.h"

namespace fastrnn {

// Those of instruction_set(), which throws where there are none.
const Kernels& kernels();

// Numbers per row in Problem::saved. The same for every instruction set.
int64_t saved_width(CellKind cell, int64_t hidden_size, bool projected, int64_t number_size);

// Numbers per row in Problem::checkpoints, likewise.
int64_t checkpoint_width(CellKind cell, int64_t hidden_size, int64_t number_size);

}  // namespace fastrnn
