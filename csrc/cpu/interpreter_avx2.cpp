#if defined(__x86_64__)
#include "for_avx2.h"
#include "interpreter_kernels.h"
#endif
