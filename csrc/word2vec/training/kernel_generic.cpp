// The vectors of the compiler's default target: SSE2 on x86-64, NEON on Arm.
#define FASTRNN_TARGET generic
#define FASTRNN_VECTOR_BYTES 16
#include "kernel.h"
