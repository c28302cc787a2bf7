// Which instruction set runs: the kernels of the layers and those of word2vec, two modules, ask here.
#pragma once
#include <string>

namespace fastrnn {

// "generic", "avx2" or "avx512": the best set that this processor has; FASTRNN_ISA=generic|avx2|avx512 forces another.
// Decided once, at the first call. Throws std::runtime_error for a name that is unknown, or a set that this processor
// or build lacks.
const std::string& instruction_set();

}  // namespace fastrnn
