#include "called.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/python_variable.h>

#include "plain.h"

namespace fastrnn::called {

namespace py = pybind11;
using at::Tensor;

std::string class_of(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

const Tensor& tensor(py::handle object, const char* name) {
  if (!THPVariable_Check(object.ptr()))
    throw py::type_error(text("Expected ", name, " to be a torch.Tensor, got a ", class_of(object)));
  const Tensor& t = THPVariable_Unpack(object.ptr());
  if (!is_plain(t))
    throw py::value_error(text("Expected ", name, " to be a dense tensor on the cpu, not within vmap or a derivative",
                               " in forward mode, got a ", t.layout(), " tensor on ", t.device()));
  try {
    check_in_memory(t, name);
  } catch (const c10::Error& error) {
    throw std::runtime_error(error.what_without_backtrace());
  }
  return t;
}

void check_floating(const Tensor& t, const char* name) {
  const at::ScalarType dtype = t.scalar_type();
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kHalf)
    throw py::value_error(text("Expected ", name, " of dtype torch.float32, torch.bfloat16 or torch.float16, got ",
                               name_of(dtype), "; convert it with .to(torch.float32)"));
}

void refuse_gradients(const Tensor& t, const char* name) {
  if (t.requires_grad() && at::GradMode::is_enabled())
    throw std::runtime_error(text("A stream computes no gradients, but its ", name,
                                  " requires them; call it within torch.inference_mode() or torch.no_grad(), or pass ",
                                  name, ".detach()"));
}

const Tensor& state(py::handle object, const Tensor& like, const char* name) {
  const Tensor& t = tensor(object, name);
  if (t.sizes() != like.sizes())
    throw py::value_error(
        text("Expected ", name, " of size ", like.sizes(), ", (layers, batch, features), got ", t.sizes()));
  check_floating(t, name);
  refuse_gradients(t, name);
  return t;
}

namespace {

// Calls visit(pointer) with the type of the tensor's numbers.
template <class Visit>
void with_numbers(const Tensor& t, Visit visit) {
  void* const data = const_cast<void*>(t.const_data_ptr());
  if (t.scalar_type() == at::kFloat)
    visit(static_cast<float*>(data));
  else if (t.scalar_type() == at::kHalf)
    visit(static_cast<at::Half*>(data));
  else
    visit(static_cast<at::BFloat16*>(data));
}

}  // namespace

void read(const Tensor& from, float* to) {
  with_numbers(from, [&](auto* data) {
    for (int64_t i = 0; i < from.size(0); ++i)
      for (int64_t k = 0; k < from.size(1); ++k) *to++ = float(data[i * from.stride(0) + k * from.stride(1)]);
  });
}
void write(const float* from, const Tensor& to) {
  with_numbers(to, [&](auto* data) {
    for (int64_t i = 0; i < to.size(0); ++i)
      for (int64_t k = 0; k < to.size(1); ++k)
        data[i * to.stride(0) + k * to.stride(1)] = std::remove_reference_t<decltype(*data)>(*from++);
  });
}

bool in_rows(const Tensor& t) {
  return t.scalar_type() == at::kFloat && (t.stride(1) == 1 || t.size(1) == 1) &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % alignof(float) == 0;
}

bool repeats(const Tensor& t) {
  int64_t outer = t.stride(0), count = t.size(0), inner = t.stride(1), inner_count = t.size(1);
  if (inner_count > 1 && outer < inner) std::swap(outer, inner), std::swap(count, inner_count);
  return (inner_count > 1 && inner < 1) || (count > 1 && outer <= inner * (inner_count - 1));
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  auto end = [](const Tensor& t) {
    int64_t last = 0;
    for (int64_t d = 0; d < t.dim(); ++d) last += (t.size(d) - 1) * t.stride(d);
    return static_cast<const char*>(t.const_data_ptr()) + (last + 1) * t.itemsize();
  };
  return a.const_data_ptr() < end(b) && b.const_data_ptr() < end(a);
}

}  // namespace fastrnn::called
