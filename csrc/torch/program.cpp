#include "program.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "../cpu/interpreter_table.h"
#include "checked_program.h"

namespace py = pybind11;

namespace fastrnn {

namespace {

template <class T>
using Numbers = py::array_t<T, int(py::array::c_style) | int(py::detail::npy_api::NPY_ARRAY_ALIGNED_)>;

int operands(Operation operation) {
  if (operation < Operation::add) return 1;
  return operation < Operation::where ? 2 : 3;
}

// One of two operands, and what `where` chooses; what is copied.
bool may_be_constant(const Instruction& i, int n) {
  if (i.operation == Operation::copy) return i.a == constant;
  if (i.operation == Operation::where) return n > 0 && (n == 1 ? i.b : i.c) == constant;
  if (operands(i.operation) != 2) return false;
  return n == 0 ? i.a == constant && i.b >= 0 : i.b == constant && i.a >= 0;
}

template <class T>
std::vector<Numbers<T>> run(const Program& program, const std::vector<Numbers<T>>& in, const CellPasses<T>& passes) {
  if (int64_t(in.size()) != program.inputs)
    throw py::value_error("this program has " + std::to_string(program.inputs) + " inputs, got " +
                          std::to_string(in.size()));
  const int64_t n = in.empty() ? 0 : in[0].size();
  std::vector<const T*> from;
  for (const auto& each : in) {
    if (each.size() != n) throw py::value_error("inputs of one length are expected");
    from.push_back(each.data());
  }
  std::vector<Numbers<T>> out;
  std::vector<T*> to;
  for (int32_t k = 0; k < program.outputs; ++k) {
    out.emplace_back(n);
    to.push_back(out.back().mutable_data());
  }
  std::vector<T> scratch(program.temporaries * block_numbers);
  passes.run(program, from.data(), to.data(), n, scratch.data());
  return out;
}

}  // namespace

CheckedProgram::CheckedProgram(const std::vector<Given>& code, int32_t inputs, int32_t outputs, int32_t temporaries)
    : inputs(inputs), outputs(outputs), temporaries(temporaries) {
  if (inputs < 0 || outputs < 0 || temporaries < 0 || int64_t(inputs) + outputs + temporaries > most_places)
    throw std::invalid_argument("a program has 0 to " + std::to_string(most_places) + " places");
  const int32_t places = inputs + outputs + temporaries;
  for (const auto& [operation, to, a, b, c, k, l] : code) {
    if (operation < 0 || operation >= int32_t(Operation::count))
      throw std::invalid_argument("there is no operation " + std::to_string(operation));
    if (to < inputs || to >= places)
      throw std::invalid_argument("an instruction writes to place " + std::to_string(to));
    const Instruction i{Operation(operation), to, a, b, c, k, l};
    const int32_t read[] = {a, b, c};
    for (int n = 0; n < 3; ++n)
      if (read[n] < 0 ? !may_be_constant(i, n) && n < operands(i.operation) : read[n] >= places)
        throw std::invalid_argument("an instruction reads place " + std::to_string(read[n]));
    instructions.push_back(i);
  }
}

void add_program(py::module_& m) {
  py::class_<CheckedProgram>(m, "Program", "instructions on rows of numbers (csrc/cells/program.h)")
      .def(py::init<const std::vector<CheckedProgram::Given>&, int32_t, int32_t, int32_t>(), py::arg("instructions"),
           py::arg("inputs"), py::arg("outputs"), py::arg("temporaries"))
      .def("run_float",
           [](const CheckedProgram& p, const std::vector<Numbers<float>>& in) {
             return run<float>(p.program(), in, interpreter().of_float);
           })
      .def("run_double", [](const CheckedProgram& p, const std::vector<Numbers<double>>& in) {
        return run<double>(p.program(), in, interpreter().of_double);
      });
}

}  // namespace fastrnn
