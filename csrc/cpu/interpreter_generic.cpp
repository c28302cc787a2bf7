#define FASTRNN_TARGET generic
#define FASTRNN_VECTOR_BYTES 16
#define FASTRNN_REGISTERS 16
#include "interpreter_kernels.h"
