// The short way from Python to the kernels, for inference. One step of a small layer takes a few microseconds, and the
// dispatcher with the checks in Python takes ten more (docs/adr/0005). What is computed is the same.
//
// It serves plain calls only: dense CPU tensors that fit each other, no gradients, and nobody who wants to see the
// call (autocast, tracing, functorch, a torch_function or torch_dispatch mode, the profiler). For any other it returns
// None, and the caller goes the long way, which does it or says what is wrong with it.
#include "direct.h"

#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/python_variable.h>

#include "cpu/layer.h"

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

// Reads None as none. False: not plain.
bool read(PyObject* object, OptionalTensor& tensor) {
  if (object == Py_None) return true;
  const Tensor* t = plain_tensor(object);
  if (t) tensor = *t;
  return t != nullptr;
}

struct Results {
  Tensor output, hn, cn;
};

Results run(std::string_view cell, const Tensor& input, const OptionalTensor& h0, const OptionalTensor& c0,
            at::TensorList weights, int64_t num_layers, bool biases, bool bidirectional, bool batch_first) {
  at::AutoDispatchBelowADInplaceOrView guard;
  const int64_t directions = bidirectional ? 2 : 1, states = num_layers * directions;
  const size_t per_layer = weights.size() / num_layers;
  TORCH_CHECK(weights.size() % num_layers == 0 && per_layer > 0);
  for (const OptionalTensor& state : {h0, c0}) TORCH_CHECK(!state || (state->dim() == 3 && state->size(0) == states));
  Results results{input, {}, {}};
  for (int64_t i = 0; i < num_layers; ++i) {
    auto of_layer = [&](const OptionalTensor& state) {
      return state && num_layers > 1 ? state->narrow(0, i * directions, directions) : state;
    };
    Layer layer(cell, results.output, std::nullopt, of_layer(h0), of_layer(c0), weights.slice(i * per_layer, per_layer),
                biases, bidirectional, batch_first);
    if (i == 0) {
      results.hn = layer.empty({states, layer.batch, layer.output_size});
      results.cn = layer.cell == CellKind::lstm ? layer.empty({states, layer.batch, layer.hidden_size}) : Tensor();
    }
    // A layer of another size than the first has no place in the states.
    check_sizes(results.hn, {states, layer.batch, layer.output_size}, "h_n");
    Tensor output = layer.empty_output();
    layer.forward(output, results.hn, results.cn, i * directions, Tensor());
    results.output = output;
  }
  return results;
}

}  // namespace

py::object infer(std::string_view cell, py::handle input, py::handle hx, py::sequence given, int64_t num_layers,
                 bool biases, bool bidirectional, bool batch_first) {
  if (!nobody_watches() || num_layers < 1) return py::none();
  const bool lstm = cell == "lstm";
  OptionalTensor h0, c0;
  const Tensor* x = plain_tensor(input.ptr());
  if (!x || (x->scalar_type() != at::kFloat && x->scalar_type() != at::kDouble)) return py::none();
  if (lstm && !hx.is_none()) {
    if (!PyTuple_CheckExact(hx.ptr()) || PyTuple_GET_SIZE(hx.ptr()) != 2) return py::none();
    if (!read(PyTuple_GET_ITEM(hx.ptr(), 0), h0) || !read(PyTuple_GET_ITEM(hx.ptr(), 1), c0)) return py::none();
  } else if (!read(hx.ptr(), h0)) {
    return py::none();
  }
  c10::SmallVector<Tensor, 4> weights;
  for (py::handle w : py::reinterpret_steal<py::list>(PySequence_Fast(given.ptr(), ""))) {
    const Tensor* t = plain_tensor(w.ptr());
    if (!t) return py::none();
    weights.push_back(*t);
  }
  Results results;
  try {
    const Tensor kept = *x;  // another thread may drop it meanwhile
    py::gil_scoped_release release;
    results = run(cell, kept, h0, c0, weights, num_layers, biases, bidirectional, batch_first);
  } catch (const c10::Error&) {
    return py::none();
  }
  auto wrap = [](Tensor& t) { return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(t))); };
  py::object output = wrap(results.output), hn = wrap(results.hn);
  if (!lstm) return py::make_tuple(output, hn);
  return py::make_tuple(output, py::make_tuple(hn, wrap(results.cn)));
}

}  // namespace fastrnn
