// A C++ function as Python calls its own: without pybind11's search for an overload and its casts, up to 0.1 us of
// 4, one step of a small layer (docs/adr/0005). Arguments come as they are, by position, and the function looks at them
// itself.
#pragma once
#include <pybind11/pybind11.h>

#include <utility>

namespace fastrnn {

namespace fast_call {

template <size_t>
using Handle = pybind11::handle;

template <size_t... i>
pybind11::object call(pybind11::object (*function)(Handle<i>...), PyObject* const* arguments,
                      std::index_sequence<i...>) {
  return function(arguments[i]...);
}

template <auto function, class... Handles>
PyObject* entry(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  constexpr Py_ssize_t expected = sizeof...(Handles);
  if (count != expected) return PyErr_Format(PyExc_TypeError, "Expected %zd arguments, got %zd", expected, count);
  try {
    return call(function, arguments, std::index_sequence_for<Handles...>()).release().ptr();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <auto function, class... Handles>
constexpr PyMethodDef method(const char* name, const char* doc, pybind11::object (*)(Handles...)) {
  const _PyCFunctionFast run = entry<function, Handles...>;
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run)), METH_FASTCALL, doc};
}

}  // namespace fast_call

// The entry of a function that takes handles alone, for PyModule_AddFunctions.
template <auto function>
PyMethodDef fast_method(const char* name, const char* doc) {
  return fast_call::method<function>(name, doc, function);
}

}  // namespace fastrnn
