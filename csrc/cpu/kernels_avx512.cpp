#if defined(__x86_64__)
#include "before_instruction_set.h"
#include "for_avx512.h"
#include "kernels.h"
#endif
