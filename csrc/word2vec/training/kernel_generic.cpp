// Whatever vectors the compiler's default target has: SSE2 on x86-64, NEON on Arm.
#define FASTRNN_TARGET generic
#define FASTRNN_VECTOR_BYTES 16
#include "kernel.h"
