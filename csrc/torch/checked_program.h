// A program that was checked once: a place that there is not would be read as memory of others, and one that is not
// yet written as numbers of another row.
#pragma once
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../cells/program.h"

namespace fastrnn {

class CheckedProgram {
 public:
  using Given = std::tuple<int32_t, int32_t, int32_t, int32_t, int32_t, double, double>;
  using Cuts = std::vector<std::pair<int64_t, int64_t>>;

  CheckedProgram() = default;  // of no instructions
  // Throws std::invalid_argument, ValueError in Python.
  CheckedProgram(const std::vector<Given>& code, int32_t inputs, int32_t outputs, int32_t temporaries, int32_t rows = 0,
                 int32_t numbers = 0, const Cuts& cuts = {});

  Program program() const {
    return {instructions.data(),
            int64_t(instructions.size()),
            inputs,
            outputs,
            temporaries,
            rows,
            numbers,
            int32_t(cuts.size()),
            cuts.data(),
            compiled};
  }

  // How many matrices its products are with: one more than the largest number.
  int32_t matrices() const;

  // The same, run by these functions in their type of numbers.
  CheckedProgram with(const CompiledPrograms& functions) const {
    CheckedProgram copy(*this);
    if (functions.of_float) copy.compiled.of_float = functions.of_float;
    if (functions.of_double) copy.compiled.of_double = functions.of_double;
    return copy;
  }

 private:
  std::vector<Instruction> instructions;
  std::vector<Cut> cuts;
  int32_t inputs = 0, outputs = 0, temporaries = 0, rows = 0, numbers = 0;
  CompiledPrograms compiled{};
};

}  // namespace fastrnn
