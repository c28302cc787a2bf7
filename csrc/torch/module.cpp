// The module fastrnn._C: what C++ offers to Python beside the operators.
#include <omp.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "../cpu/forked.h"
#include "../cpu/kernel_table.h"
#include "../cpu/thread_count.h"
#include "../cpu/waiting.h"
#include "cell_library.h"
#include "cpu.h"
#include "fast_call.h"
#include "fast_path.h"
#include "program.h"
#include "stack.h"
#include "stream_python.h"
#include "user_cells.h"

namespace py = pybind11;

namespace {

template <class T>
using Numbers = py::array_t<T, int(py::array::c_style) | int(py::detail::npy_api::NPY_ARRAY_ALIGNED_)>;

// 'sigmoid', 'tanh' or 'relu' of every number, as the kernels compute it.
template <class T>
py::array_t<T> activation(const std::string& name, const Numbers<T>& x, void (*run)(char, const T*, T*, int64_t)) {
  if (name != "sigmoid" && name != "tanh" && name != "relu")
    throw py::value_error("activation must be 'sigmoid', 'tanh' or 'relu', got '" + name + "'");
  py::array_t<T> y(x.size());
  run(name[0], x.data(), y.mutable_data(), x.size());
  return y;
}

double fma_peak(int threads) {
  if (threads < 1) throw py::value_error("threads must be at least 1, got " + std::to_string(threads));
  py::gil_scoped_release release;
  return fastrnn::kernels().fma_gflops(fastrnn::forked() ? 1 : std::min(threads, omp_get_num_procs()));
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = compiler();
#ifdef _OPENMP
  info["openmp"] = _OPENMP;
#else
  info["openmp"] = py::none();
#endif
#ifdef FASTRNN_WITH_CUDA
  info["cuda"] = true;
  info["cuda_kernels"] = std::vector<std::string>{"step", "block", "cluster", "grid"};
#else
  info["cuda"] = false;
  info["cuda_kernels"] = std::vector<std::string>{};
#endif
  return info;
}

// The table of cells (csrc/cells/registry.h): name to what Python must know of it.
py::dict cells() {
  py::dict table;
  for (const fastrnn::CellDescription* cell : fastrnn::all_cells()) {
    py::dict entry;
    entry["input_gates"] = cell->input_gates;
    entry["recurrent_gates"] = cell->gates_of_state();
    entry["gated"] = cell->gated;
    entry["carries_c"] = cell->carries_c;
    entry["reads_h"] = cell->reads_h;
    entry["projectable"] = cell->projectable();
    entry["saves"] = cell->saves;
    entry["goes_back_from_h"] = cell->goes_back_from_h;
    py::dict vectors;  // name to numbers for each unit
    for (int k = 0; k < cell->vectors; ++k) vectors[cell->vector_names[k]] = cell->vector_size(k);
    entry["vectors"] = vectors;
    entry["normalized"] = cell->normalized;
    entry["recomputable"] = cell->recomputable();
    entry["onednn"] = cell->onednn;
    table[cell->name] = entry;
  }
  return table;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.def("cells", cells, "the table of cells: name to what Python must know of it");
  m.def("instruction_set", [] { return std::string(fastrnn::kernels().name); }, "generic, avx2, avx512 or avx512_bf16");
  m.def("build_info", build_info, "compiler, OpenMP version, whether CUDA kernels were built");
  m.def(
      "fma_peak", fma_peak, py::arg("threads"),
      "float32 multiply-adds on registers alone, GFLOP/s over all threads, of which no more than there are processors; "
      "in a child of fork over one");
  m.def("assume_cores", fastrnn::assume_cores,
        "for tests: pretend that the machine has this number of cores; 0: as it is");
  m.def(
      "dissolve_teams", [](std::optional<int> round) { fastrnn::dissolve_teams_at = round.value_or(INT_MAX); },
      "for tests: the first thread of every team goes on alone from this barrier on, None as usual");
  m.def("quota_cores", fastrnn::quota_cores, "for tests: the cores that a container's quota is worth, under a root");
  static PyMethodDef fast[] = {
      fastrnn::fast_method<fastrnn::run_layer>(
          "run_layer", "what a layer returns, or None where the call is not plain (fast_path.cpp)"),
      fastrnn::fast_method<fastrnn::flat_weights>("flat_weights",
                                                  "the weights of a layer, or None where torch.nn has to find them"),
      fastrnn::fast_method<fastrnn::run_step>("run_step", "one step of a cell likewise"),
      fastrnn::fast_method<fastrnn::infer_packed>("infer_packed", "infer of a layer with packed weights"),
      fastrnn::fast_method<fastrnn::infer_packed_step>("infer_packed_step", "infer_step of a cell with packed weights"),
      {},
  };
  if (PyModule_AddFunctions(m.ptr(), fast)) throw py::error_already_set();
  fastrnn::add_program(m);
  fastrnn::add_cell_library(m);
  fastrnn::add_user_cells(m);
  fastrnn::add_stream(m);
  m.def("activation_float", [](const std::string& name, const Numbers<float>& x) {
    return activation<float>(name, x, fastrnn::kernels().activation_float);
  });
  m.def("activation_double", [](const std::string& name, const Numbers<double>& x) {
    return activation<double>(name, x, fastrnn::kernels().activation_double);
  });
}
