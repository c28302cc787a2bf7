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

template <class T>
std::vector<Numbers<T>> run(const Program& program, const std::vector<Numbers<T>>& in, const CellPasses<T>& passes) {
  if (program.has_products()) throw py::value_error("a program with matrices runs in the loop of a cell alone");
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
  std::vector<T> scratch(program.scratch(n));
  passes.run(program, from.data(), to.data(), n, scratch.data());
  return out;
}

}  // namespace

void add_program(py::module_& m) {
  py::class_<CheckedProgram>(m, "Program", "instructions on rows of numbers (csrc/cells/program.h)")
      .def(py::init<const std::vector<CheckedProgram::Given>&, int32_t, int32_t, int32_t, int32_t, int32_t,
                    const CheckedProgram::Cuts&>(),
           py::arg("instructions"), py::arg("inputs"), py::arg("outputs"), py::arg("temporaries"), py::arg("rows") = 0,
           py::arg("numbers") = 0, py::arg("cuts") = CheckedProgram::Cuts())
      .def("run_float",
           [](const CheckedProgram& p, const std::vector<Numbers<float>>& in) {
             return run<float>(p.program(), in, interpreter().of_float);
           })
      .def("run_double", [](const CheckedProgram& p, const std::vector<Numbers<double>>& in) {
        return run<double>(p.program(), in, interpreter().of_double);
      });
}

}  // namespace fastrnn
