#include "../cpu/instruction_set.h"
#include "problem.h"

namespace fastrnn {

namespace generic {
extern const LossKernels loss_kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const LossKernels loss_kernels;
}
namespace avx512 {
extern const LossKernels loss_kernels;
}
#endif

const LossKernels& loss_kernels() {
#if defined(__x86_64__)
  for (const LossKernels* set : {&avx2::loss_kernels, &avx512::loss_kernels})
    if (set->name == set_of_float32()) return *set;
#endif
  return generic::loss_kernels;
}

}  // namespace fastrnn
