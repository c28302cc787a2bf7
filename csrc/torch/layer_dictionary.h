// What the fast path reads of a layer's dictionary.
#pragma once
#include <pybind11/pybind11.h>

#include <array>

namespace fastrnn {

template <class... Names>
std::array<PyObject*, sizeof...(Names)> interned(Names... names) {
  return {PyUnicode_InternFromString(names)...};
}

// A dictionary that Python gives by position is looked at here, and nowhere before.
pybind11::dict dictionary(pybind11::handle object);

// The value of a key, or null. To compare keys may run Python code, which may drop what is not held. Inline: a call of
// a layer looks up 20.
inline pybind11::object look_up(const pybind11::object& dictionary, PyObject* key) {
  PyObject* value = PyDict_GetItemWithError(dictionary.ptr(), key);
  if (!value && PyErr_Occurred()) throw pybind11::error_already_set();
  return pybind11::reinterpret_borrow<pybind11::object>(value);
}

// Whether the layer has options that only the long way knows (fastrnn/nn/options.py), or a hidden size for each layer.
bool beyond_fast_path(const pybind11::dict& layer, pybind11::handle type, bool training);

// torch.nn computes with the list `_flat_weights`, and makes it anew where a name stands for another tensor than when
// it was made, which `_flat_weight_refs` remember. This is that list where names, list and memory agree, else null.
pybind11::object settled_weights(const pybind11::dict& layer);

}  // namespace fastrnn
