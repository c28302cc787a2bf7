#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define FASTRNN_TARGET avx2
#define FASTRNN_VECTOR_BYTES 32
#define FASTRNN_REGISTERS 16
#include "interpreter_kernels.h"
#endif
