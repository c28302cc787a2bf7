#include "layer_dictionary.h"

namespace fastrnn {

namespace py = pybind11;

namespace {

// An attribute as `layer.name` finds it, where it is a plain value: of the object, else of its class. Null otherwise.
py::object attribute(const py::object& dictionary, py::handle type, PyObject* name) {
  if (py::object own = look_up(dictionary, name)) return own;
  if (!PyType_Check(type.ptr())) return {};
  PyObject* shared = _PyType_Lookup(reinterpret_cast<PyTypeObject*>(type.ptr()), name);
  if (!shared || Py_TYPE(shared)->tp_descr_get) return {};
  return py::reinterpret_borrow<py::object>(shared);
}

}  // namespace

py::dict dictionary(py::handle object) {
  if (!PyDict_Check(object.ptr())) throw py::type_error("Expected the dictionary of a layer");
  return py::reinterpret_borrow<py::dict>(object);
}

bool beyond_fast_path(const py::dict& layer, py::handle type, bool training) {
  constexpr size_t at_inference = 3;  // the first three count at inference too, the others in training only
  static const std::array<PyObject*, 6> names =
      interned("learn_initial_state", "zoneout_h", "zoneout_c", "input_dropout", "weight_dropout", "recurrent_dropout");
  static PyObject* const hidden_size = PyUnicode_InternFromString("hidden_size");
  for (size_t i = 0; i < (training ? names.size() : at_inference); ++i) {
    const py::object value = attribute(layer, type, names[i]);
    if (value.ptr() != Py_False && !(value && PyFloat_CheckExact(value.ptr()) && PyFloat_AS_DOUBLE(value.ptr()) == 0))
      return true;
  }
  const py::object size = look_up(layer, hidden_size);
  return !size || !PyLong_Check(size.ptr());
}

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

}  // namespace fastrnn
