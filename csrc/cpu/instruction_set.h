// Which instruction set runs: the kernels of the layers and those of word2vec, two modules, ask here.
#pragma once
#include <string>

namespace fastrnn {

// "generic", "avx2", "avx512" or "avx512_bf16": the best set that this processor has; FASTRNN_ISA=… forces another.
// Decided once, at the first call. Throws std::runtime_error for a name that is unknown, or a set that this processor
// or build lacks.
const std::string& instruction_set();

// The same for code that knows no bfloat16: avx512_bf16 is avx512 with products of bfloat16 besides.
const std::string& set_of_float32();

}  // namespace fastrnn
