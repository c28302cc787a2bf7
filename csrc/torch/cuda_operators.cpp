// The GPU's side of the operators that module.cpp declares.
#include "cuda.h"

namespace fastrnn::cuda {

TORCH_LIBRARY_FRAGMENT(fastrnn, m) { m.def(team_schema, team_for); }
TORCH_LIBRARY_IMPL(fastrnn, CUDA, m) { register_device<device>(m); }

}  // namespace fastrnn::cuda
