// Tensors that a stream is called with: checked, read and written where the kernels cannot use them as they are.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "layer.h"

namespace fastrnn::called {

template <class... Parts>
std::string text(const Parts&... parts) {
  return c10::str(parts...);
}
std::string class_of(pybind11::handle object);

// The tensor that an object is: dense, on the CPU and in memory. Throws what Python is to raise.
const at::Tensor& tensor(pybind11::handle object, const char* name);
// That it is float32, bfloat16 or float16.
void check_floating(const at::Tensor& t, const char* name);
void refuse_gradients(const at::Tensor& t, const char* name);
// A state of the caller's that is to replace another.
const at::Tensor& state(pybind11::handle object, const at::Tensor& like, const char* name);

// The numbers of a float32 tensor. Those that are written are not shared with the caller, or are the caller's output.
inline float* numbers(const at::Tensor& t) { return static_cast<float*>(const_cast<void*>(t.const_data_ptr())); }

// Between a matrix of the caller's and float32 rows without gaps.
void read(const at::Tensor& from, float* to);
void write(const float* from, const at::Tensor& to);

// Whether the kernels can use the rows of a matrix where they lie.
bool in_rows(const at::Tensor& t);
// Whether two places of a matrix are the same in memory, as where it was expanded.
bool repeats(const at::Tensor& t);
// Whether two matrices may have a number in common.
bool may_overlap(const at::Tensor& a, const at::Tensor& b);

}  // namespace fastrnn::called
