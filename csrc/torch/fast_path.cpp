// The fast path from Python to the kernels. One step of a small layer takes a few microseconds, and the dispatcher with
// the checks in Python takes ten more (docs/adr/0005). What is computed is the same.
//
// It serves plain calls only: dense CPU tensors that fit each other, in one dtype, and nothing that observes the call
// (see plain.h). For any other it returns None, and the caller takes the long way, which runs it or reports what is
// wrong.
#include "fast_path.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/python_variable.h>

#include <algorithm>
#include <array>

#include "autograd.h"
#include "layer_dictionary.h"
#include "plain.h"
#include "stack.h"

namespace fastrnn {
namespace {

namespace py = pybind11;
using at::Tensor;

// A torch.Tensor or Parameter itself, not of a subclass.
const Tensor* plain_tensor(PyObject* object) {
  if (!THPVariable_CheckExact(object)) return nullptr;
  const Tensor& t = THPVariable_Unpack(object);
  return is_plain(t) ? &t : nullptr;
}

// `recorded`: whether a backward pass may follow.
struct Plain : Arguments {
  bool recorded = false;
};

Arguments options_of(py::handle cell) {
  Arguments options;
  Py_ssize_t length;
  const char* const name = PyUnicode_AsUTF8AndSize(cell.ptr(), &length);
  if (!name) throw py::error_already_set();
  options.cell = find_cell({name, size_t(length)});
  return options;
}

// `options`: all but the tensors.
std::optional<Plain> plain_call(Arguments options, py::handle input, py::handle hx, py::handle weights) {
  if (!options.cell || !unobserved()) return {};
  Plain call{std::move(options)};
  bool plain = true;
  auto read = [&](PyObject* object, auto&& store) {
    const Tensor* t = object ? plain_tensor(object) : nullptr;
    if (t) store(*t), call.recorded |= t->requires_grad();
    plain &= t != nullptr;
  };
  read(input.ptr(), [&](const Tensor& t) { call.input = t; });
  plain = plain && at::isFloatingType(call.input.scalar_type()) && c10::elementSize(call.input.scalar_type()) > 1;
  if (call.cell->carries_c && !hx.is_none()) {
    if (!PyTuple_CheckExact(hx.ptr()) || PyTuple_GET_SIZE(hx.ptr()) != 2) return {};
    read(PyTuple_GET_ITEM(hx.ptr(), 0), [&](const Tensor& t) { call.h0 = t; });
    read(PyTuple_GET_ITEM(hx.ptr(), 1), [&](const Tensor& t) { call.c0 = t; });
  } else if (!hx.is_none()) {
    read(hx.ptr(), [&](const Tensor& t) { call.h0 = t; });
  }
  if (!PyList_Check(weights.ptr())) return {};
  for (py::handle weight : py::reinterpret_borrow<py::list>(weights))
    read(weight.ptr(), [&](const Tensor& t) {
      call.weights.push_back(t);
      plain &= is_packed(call.format) || t.scalar_type() == call.input.scalar_type();
    });
  call.recorded &= at::GradMode::is_enabled();
  return plain ? std::optional(std::move(call)) : std::nullopt;
}

// Multiplications and additions, about.
double work(const Plain& call) {
  double weights = 0;
  for (const Tensor& weight : call.weights) weights += weight.numel();
  return 2 * weights * (call.input.numel() / std::max<int64_t>(1, call.input.size(-1)));
}

// None where the operands do not fit each other. `one_step`: input and states are those of a cell, one dimension less.
std::optional<StackResults> run(Plain call, int64_t num_layers, bool one_step = false) {
  std::optional<py::gil_scoped_release> unlocked;
  std::optional<at::AutoDispatchBelowADInplaceOrView> guard;
  if (call.input.dim() == 0) return {};
  if (work(call) > worth_the_lock) unlocked.emplace();
  if (!call.recorded) guard.emplace();
  try {
    for (OptionalTensor* state : {&call.h0, &call.c0})
      if (one_step && *state) *state = (*state)->unsqueeze(0);
    if (one_step) call.input = call.input.unsqueeze(0);
    if (call.weights.empty()) return {};
    const bool widens = c10::elementSize(call.input.scalar_type()) < 4;  // so would its gradients have to be
    if (call.recorded && widens) return {};
    StackResults results =
        call.recorded ? run_differentiable_stack(call, num_layers) : run_stack(std::move(call), num_layers);
    for (Tensor* state : {&results.hn, &results.cn})
      if (one_step && state->defined()) *state = state->squeeze(0);
    return results;
  } catch (const c10::Error&) {
    return {};
  }
}

py::object wrap(Tensor t) { return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(t))); }

py::object state_of(StackResults& results) {
  if (!results.cn.defined()) return wrap(std::move(results.hn));
  return py::make_tuple(wrap(std::move(results.hn)), wrap(std::move(results.cn)));
}

// Lengths and resets among the keyword arguments of a layer's forward. False where there is anything else. (torch.fx
// passes no dictionary.)
bool read_call_options(py::handle options, Arguments& to) {
  if (!PyDict_CheckExact(options.ptr())) return false;
  const auto given = py::reinterpret_borrow<py::dict>(options);
  if (given.empty()) return true;
  static const std::array<PyObject*, 2> names = interned("lengths", "resets");
  const std::array<OptionalTensor*, 2> places = {&to.lengths, &to.resets};
  size_t known = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const py::object value = look_up(given, names[i]);
    if (!value) continue;
    ++known;
    if (value.is_none()) continue;
    const Tensor* t = plain_tensor(value.ptr());
    if (!t) return false;
    *places[i] = *t;
  }
  return known == given.size();
}

// A call of packed weights: `_call` of fastrnn/quantization/layers.py has its options, `_names` names the buffers.
struct PackedCall {
  std::optional<Plain> arguments;
  int64_t num_layers;
};

PackedCall packed_call(py::handle input, py::handle hx, const py::dict& layer, py::handle options = {}) {
  static const std::array<PyObject*, 3> keys = interned("_call", "_names", "_buffers");
  std::array<py::object, 3> values;
  for (size_t i = 0; i < keys.size(); ++i)
    if (!(values[i] = look_up(layer, keys[i]))) return {};
  const auto& [made_with, names, buffers] = values;
  Arguments given;
  if (options && !read_call_options(options, given)) return {};
  const int64_t num_layers = read_packed_options(made_with, given);
  py::list weights;
  for (py::handle name : py::reinterpret_borrow<py::tuple>(names)) {
    py::object weight = look_up(buffers, name.ptr());
    if (!weight) return {};
    weights.append(std::move(weight));
  }
  PackedCall call{plain_call(std::move(given), input, hx, weights), num_layers};
  if (call.arguments && call.arguments->recorded) return {};  // the long way says that there are no gradients
  return call;
}

}  // namespace

int64_t read_packed_options(py::handle options, Arguments& to) {
  auto given = options.cast<py::tuple>();
  if (given.size() == 9) given = given + py::make_tuple(1);  // of a layer that was pickled before there were heads
  const auto [cell, numbers, input_size, hidden_size, projection_size, num_layers, biases, bidirectional, batch_first,
              heads] =
      given.cast<std::tuple<std::string, std::string, int64_t, int64_t, int64_t, int64_t, bool, bool, bool, int64_t>>();
  to.cell = &cell_named(cell), to.format = packed_format_named(numbers);
  to.input_size = input_size, to.hidden_size = hidden_size, to.projection_size = projection_size;
  to.projected = projection_size > 0, to.biases = biases;
  to.bidirectional = bidirectional, to.batch_first = batch_first, to.heads = heads;
  return num_layers;
}

py::object flat_weights(py::handle layer) {
  py::object weights = settled_weights(dictionary(layer));
  return weights ? weights : py::none();
}

py::object run_layer(py::handle cell, py::handle input, py::handle hx, py::handle of, py::handle type,
                     py::handle options) {
  const py::dict layer = dictionary(of);
  static const std::array<PyObject*, 9> names = interned("num_layers", "dropout", "proj_size", "bias", "bidirectional",
                                                         "batch_first", "training", "recompute", "heads");
  std::array<py::object, 9> held;
  std::array<PyObject*, 9> values;
  for (size_t i = 0; i < names.size(); ++i) values[i] = (held[i] = look_up(layer, names[i])).ptr();
  // Of layers that have the default, or were made before there was the option.
  if (!values[7]) values[7] = Py_False;
  const py::int_ one(1);
  if (!values[8]) values[8] = one.ptr();
  if (std::find(values.begin(), values.end(), nullptr) != values.end()) return py::none();
  const auto [num_layers, dropout, proj_size, bias, bidirectional, batch_first, training, recompute, heads] = values;
  for (PyObject* option : {bias, bidirectional, batch_first, training, recompute})
    if (!PyBool_Check(option)) return py::none();
  int overflow = 0;
  const long layers = PyLong_Check(num_layers) ? PyLong_AsLongAndOverflow(num_layers, &overflow) : 0;
  const long projection = PyLong_Check(proj_size) ? PyLong_AsLongAndOverflow(proj_size, &overflow) : -1;
  const long given_heads = PyLong_Check(heads) ? PyLong_AsLongAndOverflow(heads, &overflow) : 0;
  if (layers < 1 || projection < 0 || given_heads < 1 || !PyFloat_Check(dropout)) return py::none();
  if (PyFloat_AS_DOUBLE(dropout) > 0 && training == Py_True) return py::none();
  if (beyond_fast_path(layer, type, training == Py_True)) return py::none();
  const py::object weights = settled_weights(layer);
  if (!weights) return py::none();
  std::optional<Plain> call = plain_call(options_of(cell), input, hx, weights);
  if (!call || !read_call_options(options, *call)) return py::none();
  call->biases = bias == Py_True, call->projected = projection > 0, call->heads = given_heads;
  call->bidirectional = bidirectional == Py_True, call->batch_first = batch_first == Py_True;
  call->recompute = call->recorded && recompute == Py_True;
  if (call->recompute && call->cell->normalized) return py::none();
  std::optional<StackResults> results = run(std::move(*call), layers);
  if (!results) return py::none();
  py::object output = wrap(std::move(results->output));
  return py::make_tuple(output, state_of(*results));
}

py::object run_step(py::handle cell, py::handle input, py::handle hx, py::handle weights, py::handle biases) {
  std::optional<Plain> call = plain_call(options_of(cell), input, hx, weights);
  if (!call || call->input.dim() != 2) return py::none();
  call->biases = biases.ptr() == Py_True;
  std::optional<StackResults> results = run(std::move(*call), 1, true);
  return results ? state_of(*results) : py::none();
}

py::object infer_packed(py::handle input, py::handle hx, py::handle layer, py::handle options) {
  PackedCall call = packed_call(input, hx, dictionary(layer), options);
  if (!call.arguments) return py::none();
  std::optional<StackResults> results = run(std::move(*call.arguments), call.num_layers);
  if (!results) return py::none();
  py::object output = wrap(std::move(results->output));
  return py::make_tuple(output, state_of(*results));
}

py::object infer_packed_step(py::handle input, py::handle hx, py::handle cell) {
  PackedCall call = packed_call(input, hx, dictionary(cell));
  if (!call.arguments || call.arguments->input.dim() != 2) return py::none();
  std::optional<StackResults> results = run(std::move(*call.arguments), 1, true);
  return results ? state_of(*results) : py::none();
}

}  // namespace fastrnn
