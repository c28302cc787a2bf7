#include "for_generic.h"
#include "interpreter_kernels.h"
