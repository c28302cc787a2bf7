#if defined(__x86_64__)
#include "../../cpu/before_instruction_set.h"

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define FASTRNN_TARGET avx512
#define FASTRNN_VECTOR_BYTES 64
#include "kernel.h"
#endif
