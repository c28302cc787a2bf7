#if defined(__x86_64__)
#include "../../cpu/before_instruction_set.h"

#pragma GCC target("avx2,fma")
#define FASTRNN_TARGET avx2
#define FASTRNN_VECTOR_BYTES 32
#include "kernel.h"
#endif
