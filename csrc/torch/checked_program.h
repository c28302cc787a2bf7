// A program that was checked once: a place that there is not would be read as memory of others.
#pragma once
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "../cells/program.h"

namespace fastrnn {

class CheckedProgram {
 public:
  using Given = std::tuple<int32_t, int32_t, int32_t, int32_t, int32_t, double, double>;

  // Throws std::invalid_argument, ValueError in Python.
  CheckedProgram(const std::vector<Given>& code, int32_t inputs, int32_t outputs, int32_t temporaries);

  Program program() const { return {instructions.data(), int64_t(instructions.size()), inputs, outputs, temporaries}; }

 private:
  std::vector<Instruction> instructions;
  int32_t inputs, outputs, temporaries;
};

}  // namespace fastrnn
