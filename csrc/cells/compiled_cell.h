// What the library of a compiled cell exports (fastrnn/_cell/compiler.py): its programs as functions.
#pragma once
#include "program.h"

namespace fastrnn {

// To be raised when CompiledCell changes, or what its functions are handed: a library of another version is not loaded.
constexpr int64_t compiled_cell_version = 1;

struct CompiledStep {
  int32_t inputs, outputs;
  CompiledPrograms programs;  // of one type of numbers, null for the other
};

struct CompiledCell {
  int64_t version;
  CompiledStep inference, forward, backward;
};

}  // namespace fastrnn
