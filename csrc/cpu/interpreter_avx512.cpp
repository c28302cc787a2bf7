#if defined(__x86_64__)
#include "for_avx512.h"
#include "interpreter_kernels.h"
#endif
