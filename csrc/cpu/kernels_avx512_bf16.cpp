// The passes of a layer whose weights are bfloat16, where the processor multiplies it. All else of this level is that
// of AVX-512.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,avx512bf16")
#define FASTRNN_TARGET avx512_bf16
#define FASTRNN_VECTOR_BYTES 64
#define FASTRNN_REGISTERS 32
#define FASTRNN_BFLOAT16 1
#include "passes.h"

namespace fastrnn {

namespace avx512 {
extern const Kernels kernels;
}

namespace avx512_bf16 {

// Few rows are dot products with weights where they lie.
template <void (*pass)(const Problem<float>&), void (*Passes<float>::*otherwise)(const Problem<float>&)>
void run(const Problem<float>& p) {
  (packing_of(p) == Packing::none ? avx512::kernels.of_float.*otherwise : pass)(p);
}

void both(const Problem<float>& one, const Problem<float>& other) {
  (packing_of(one) == Packing::none ? avx512::kernels.of_float.forward_both : forward_both<float>)(one, other);
}

extern const Passes<float> passes;
const Passes<float> passes = {run<forward<float>, &Passes<float>::forward>, both,
                              run<backward<float>, &Passes<float>::backward>};

}  // namespace avx512_bf16
}  // namespace fastrnn
#endif
