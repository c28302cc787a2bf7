// The short way from Python to the kernels, for inference. One step of a small layer takes a few microseconds, and the
// dispatcher with the checks in Python takes ten more (docs/adr/0005). What is computed is the same.
//
// It serves plain calls only: dense CPU tensors that fit each other, in one dtype, no gradients, and nobody who wants
// to see the call (autocast, tracing, functorch, a torch_function or torch_dispatch mode, the profiler). For any other
// it returns None, and the caller goes the long way, which does it or says what is wrong with it.
#include "direct.h"

#include <ATen/EmptyTensor.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/library.h>

#include <array>

#include "cpu/run.h"
#include "torch_threads.h"

namespace fastrnn {
namespace {

namespace py = pybind11;
using at::Tensor;

bool within(c10::DispatchKeySet keys, c10::DispatchKeySet allowed) {
  return !(keys.raw_repr() & ~allowed.raw_repr());  // their own difference keeps the bits of backends
}

bool nobody_watches() {
  return within(c10::impl::tls_local_dispatch_key_set().included_, c10::default_included_set) &&
         !at::impl::torch_function_mode_enabled() && !at::autocast::is_autocast_enabled(at::kCPU) &&
         !at::hasCallbacks();
}

// A torch.Tensor or Parameter itself, not of a subclass.
const Tensor* plain_tensor(PyObject* object) {
  static const c10::DispatchKeySet plain =
      c10::DispatchKeySet({c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU, c10::DispatchKey::AutocastCPU,
                           c10::DispatchKey::ADInplaceOrView});
  if (!THPVariable_CheckExact(object)) return nullptr;
  const Tensor& t = THPVariable_Unpack(object);
  if (!within(t.key_set(), plain)) return nullptr;
  if (t.requires_grad() && at::GradMode::is_enabled()) return nullptr;
  if (t._fw_grad(0).defined()) return nullptr;
  return &t;
}

// The operands, held for the time of the call: another thread may drop them meanwhile.
struct Call {
  std::string_view cell;
  Tensor input;
  OptionalTensor h0, c0;
  c10::SmallVector<Tensor, 4> weights;
  OptionalTensor batch_sizes;  // the operator's alone
};

std::optional<Call> plain_call(std::string_view cell, py::handle input, py::handle hx, py::handle weights) {
  if (!nobody_watches()) return {};
  Call call{cell, {}, {}, {}, {}, {}};
  bool plain = true;
  auto read = [&](PyObject* object, auto&& store) {
    const Tensor* t = object ? plain_tensor(object) : nullptr;
    if (t) store(*t);
    plain &= t != nullptr;
  };
  read(input.ptr(), [&](const Tensor& t) { call.input = t; });
  plain = plain && at::isFloatingType(call.input.scalar_type()) && c10::elementSize(call.input.scalar_type()) > 1;
  if (cell == "lstm" && !hx.is_none()) {
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
      plain &= t.scalar_type() == call.input.scalar_type();
    });
  return plain ? std::optional(std::move(call)) : std::nullopt;
}

struct Results {
  Tensor output, hn, cn;
};

Results run_layers(const Call& call, int64_t num_layers, bool biases, bool bidirectional, bool batch_first) {
  const int64_t weights = int64_t(call.weights.size()), per_layer = weights / num_layers;
  TORCH_CHECK(per_layer > 0 && weights % num_layers == 0, "Expected as many weights for each of ", num_layers,
              " layers, got ", weights);
  const int64_t directions = bidirectional ? 2 : 1, states = num_layers * directions;
  for (const OptionalTensor* state : {&call.h0, &call.c0})
    TORCH_CHECK(!*state || ((*state)->dim() == 3 && (*state)->size(0) == states));
  Results results{call.input, {}, {}};
  for (int64_t i = 0; i < num_layers; ++i) {
    auto of_layer = [&](const OptionalTensor& state) {
      return state && num_layers > 1 ? state->narrow(0, i * directions, directions) : state;
    };
    Layer layer(call.cell, results.output, call.batch_sizes, of_layer(call.h0), of_layer(call.c0),
                at::TensorList(call.weights).slice(i * per_layer, per_layer), biases, bidirectional, batch_first);
    if (i == 0) {
      results.hn = layer.empty({states, layer.batch, layer.output_size});
      if (layer.cell == CellKind::lstm) results.cn = layer.empty({states, layer.batch, layer.hidden_size});
    }
    // A layer of another size than the first has no place among the states.
    check_sizes(results.hn, {states, layer.batch, layer.output_size}, "h_n");
    if (results.cn.defined()) check_sizes(results.cn, {states, layer.batch, layer.hidden_size}, "c_n");
    Tensor output = layer.empty_output();
    cpu::forward(layer, output, results.hn, results.cn, i * directions, Tensor());
    results.output = output;
  }
  return results;
}

bool narrow(at::ScalarType dtype) { return dtype == at::kBFloat16 || dtype == at::kHalf; }

template <class To, class From>
void convert(const Tensor& from, const Tensor& to) {
  const From* source = from.const_data_ptr<From>();
  To* target = to.mutable_data_ptr<To>();
  for (int64_t i = 0; i < from.numel(); ++i) target[i] = static_cast<To>(source[i]);
}

// t.to(dtype) between float32 and 16 bits. A few numbers by a loop: the dispatcher takes a microsecond for each of the
// tensors of a step, which takes six.
Tensor converted(const Tensor& t, at::ScalarType dtype) {
  check_in_memory(t, "an operand");
  if (t.numel() > 1024 || !t.is_contiguous()) return t.to(dtype);
  const Tensor result = at::detail::empty_cpu(t.sizes(), dtype);
  const bool widens = dtype == at::kFloat;
  if ((widens ? t.scalar_type() : dtype) == at::kHalf)
    (widens ? convert<float, at::Half> : convert<at::Half, float>)(t, result);
  else
    (widens ? convert<float, at::BFloat16> : convert<at::BFloat16, float>)(t, result);
  return result;
}

// In 16 bits the kernels read the weights as they are, but not what there is of each row.
Results run_narrow_layers(const Call& narrow_call, int64_t num_layers, bool biases, bool bidirectional,
                          bool batch_first) {
  Call call = narrow_call;
  const at::ScalarType dtype = call.input.scalar_type();
  for (const OptionalTensor* state : {&call.h0, &call.c0})
    if (*state) check_dtype(**state, dtype, "state");
  call.input = converted(call.input, at::kFloat);
  for (OptionalTensor* state : {&call.h0, &call.c0})
    if (*state) *state = converted(**state, at::kFloat);
  Results results = run_layers(call, num_layers, biases, bidirectional, batch_first);
  for (Tensor* t : {&results.output, &results.hn, &results.cn})
    if (t->defined()) *t = converted(*t, dtype);
  return results;
}

// The long way decides.
bool perhaps_left_to_torch(const Call& call, bool batch_first) {
  const Tensor &input = call.input, &weight = call.weights[0];
  return call.cell == "lstm" && input.scalar_type() == at::kBFloat16 && input.dim() == 3 && weight.dim() == 2 &&
         torch_is_faster(input.size(batch_first), input.size(!batch_first), weight.size(0) / 4);
}

// None where the operands do not fit each other. `one_step`: input and states are those of a cell, one dimension less.
std::optional<Results> run(Call call, int64_t num_layers, bool biases, bool bidirectional, bool batch_first,
                           bool one_step = false) {
  py::gil_scoped_release release;
  at::AutoDispatchBelowADInplaceOrView guard;
  NoThreadsInForkedChild alone;
  try {
    for (OptionalTensor* state : {&call.h0, &call.c0})
      if (one_step && *state) *state = (*state)->unsqueeze(0);
    if (one_step) call.input = call.input.unsqueeze(0);
    if (call.weights.empty() || perhaps_left_to_torch(call, batch_first)) return {};
    const auto run = narrow(call.input.scalar_type()) ? run_narrow_layers : run_layers;
    return run(call, num_layers, biases, bidirectional, batch_first);
  } catch (const c10::Error&) {
    return {};
  }
}

template <class... Names>
std::array<PyObject*, sizeof...(Names)> interned(Names... names) {
  return {PyUnicode_InternFromString(names)...};
}

py::object wrap(Tensor t) { return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(t))); }

py::object state_of(Results& results) {
  if (!results.cn.defined()) return wrap(std::move(results.hn));
  return py::make_tuple(wrap(std::move(results.hn)), wrap(std::move(results.cn)));
}

// The value of a key, or null. To compare keys may run Python code, which may drop what is not held.
py::object look_up(const py::object& dictionary, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dictionary.ptr(), key);
  if (!value && PyErr_Occurred()) throw py::error_already_set();
  return py::reinterpret_borrow<py::object>(value);
}

// torch.nn computes with the list `_flat_weights`, and makes it anew where a name stands for another tensor than when
// it was made, which `_flat_weight_refs` remember. This is that list where names, list and memory agree, else null.
py::object settled_weights(const py::dict& layer) {
  static const std::array<PyObject*, 4> keys =
      interned("_parameters", "_flat_weights_names", "_flat_weights", "_flat_weight_refs");
  std::array<py::object, 4> values;
  for (size_t i = 0; i < keys.size(); ++i)
    if (!(values[i] = look_up(layer, keys[i]))) return {};
  const auto& [parameters, names, weights, refs] = values;
  if (!PyDict_Check(parameters.ptr())) return {};
  for (const py::object& list : {names, weights, refs})
    if (!PyList_Check(list.ptr())) return {};
  auto length = [](const py::object& list) { return PyList_GET_SIZE(list.ptr()); };
  for (Py_ssize_t i = 0; i < length(names); ++i) {
    const auto name = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(names.ptr(), i));
    if (!PyUnicode_Check(name.ptr())) return {};
    py::object named = look_up(layer, name.ptr());
    if (!named) named = look_up(parameters, name.ptr());
    if (length(weights) != length(names) || length(refs) != length(names) || i >= length(names)) return {};
    PyObject *weight = PyList_GET_ITEM(weights.ptr(), i), *ref = PyList_GET_ITEM(refs.ptr(), i);
    if (named.ptr() != weight || !PyWeakref_CheckRef(ref) || PyWeakref_GetObject(ref) != weight) return {};
  }
  return weights;
}

// The operator of the same name.
std::tuple<Tensor, Tensor, Tensor> infer_all(c10::string_view cell, const Tensor& input,
                                             const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                             const OptionalTensor& c0, at::TensorList weights, int64_t num_layers,
                                             bool biases, bool bidirectional, bool batch_first) {
  TORCH_CHECK(num_layers > 0 && num_layers <= int64_t(weights.size()), "Expected num_layers to be 1 to ",
              weights.size(), ", the number of weights, got ", num_layers);
  TORCH_CHECK(input.scalar_type() == at::kFloat || input.scalar_type() == at::kDouble,
              "Expected input dtype float32 or float64, got ", input.scalar_type());
  const Call call{cell, input, h0, c0, {weights.begin(), weights.end()}, batch_sizes};
  NoThreadsInForkedChild alone;
  Results results = run_layers(call, num_layers, biases, bidirectional, batch_first);
  if (!results.cn.defined()) results.cn = at::detail::empty_cpu({0}, input.scalar_type());
  return {results.output, results.hn, results.cn};
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) { m.impl("infer", infer_all); }

}  // namespace

py::object flat_weights(py::dict layer) {
  py::object weights = settled_weights(layer);
  return weights ? weights : py::none();
}

bool torch_is_faster(int64_t times, int64_t batch, int64_t hidden_size) {
#if defined(__x86_64__)
  static const bool instructions = __builtin_cpu_supports("avx512bf16");
#else
  constexpr bool instructions = false;
#endif
  return instructions && times > 1 && hidden_size >= 128 && batch * hidden_size >= 4096;
}

py::object infer(std::string_view cell, py::handle input, py::handle hx, py::dict layer) {
  static const std::array<PyObject*, 6> names =
      interned("num_layers", "dropout", "bias", "bidirectional", "batch_first", "training");
  std::array<py::object, 6> held;
  std::array<PyObject*, 6> values;
  for (size_t i = 0; i < names.size(); ++i)
    if (!(values[i] = (held[i] = look_up(layer, names[i])).ptr())) return py::none();
  const auto [num_layers, dropout, bias, bidirectional, batch_first, training] = values;
  for (PyObject* option : {bias, bidirectional, batch_first, training})
    if (!PyBool_Check(option)) return py::none();
  int overflow = 0;
  const long layers = PyLong_Check(num_layers) ? PyLong_AsLongAndOverflow(num_layers, &overflow) : 0;
  if (layers < 1 || !PyFloat_Check(dropout)) return py::none();
  if (PyFloat_AS_DOUBLE(dropout) > 0 && training == Py_True) return py::none();
  const py::object weights = settled_weights(layer);
  if (!weights) return py::none();
  std::optional<Call> call = plain_call(cell, input, hx, weights);
  if (!call) return py::none();
  std::optional<Results> results =
      run(std::move(*call), layers, bias == Py_True, bidirectional == Py_True, batch_first == Py_True);
  if (!results) return py::none();
  py::object output = wrap(std::move(results->output));
  return py::make_tuple(output, state_of(*results));
}

py::object infer_step(std::string_view cell, py::handle input, py::handle hx, py::list weights) {
  std::optional<Call> call = plain_call(cell, input, hx, weights);
  if (!call || call->input.dim() != 2) return py::none();
  const bool biases = call->weights.size() == 4;
  std::optional<Results> results = run(std::move(*call), 1, biases, false, false, true);
  if (!results) return py::none();
  at::AutoDispatchBelowADInplaceOrView guard;
  results->hn = results->hn.squeeze(0);
  if (results->cn.defined()) results->cn = results->cn.squeeze(0);
  return state_of(*results);
}

}  // namespace fastrnn
