#if defined(__x86_64__)
#include "before_instruction_set.h"
#include "for_avx2.h"
#include "interpreter_kernels.h"
#endif
