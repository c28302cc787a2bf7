// What the files for one instruction set use of the standard library, included before the set is chosen. Behind the
// choice gcc 13 refuses std::string ("target specific option mismatch"), and the linker might keep an inline function
// of the library that was compiled for more than the processor has.
#pragma once
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>
