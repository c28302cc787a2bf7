// What only a GPU does: starting kernels, shared memory, blocks that wait for each other, warps, matrix units. Kernels
// include this alone, so that FASTRNN_HARDWARE can name a header that does the same elsewhere, as the tests do.
#pragma once
#ifdef FASTRNN_HARDWARE
#include FASTRNN_HARDWARE
#else
#include "blocks.h"
#include "tile.h"
#include "warp.h"
#endif
