#if defined(__x86_64__)
#include "../cpu/before_instruction_set.h"
#include "../cpu/for_avx512.h"
#include "kernels.h"
#endif
