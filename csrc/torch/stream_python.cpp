#include "stream_python.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/full.h>
#include <pybind11/stl.h>
#include <torch/csrc/autograd/python_variable.h>

#include "called.h"
#include "fast_path.h"
#include "plain.h"
#include "stream.h"

namespace fastrnn {
namespace {

namespace py = pybind11;
using namespace called;
using at::Tensor;

py::object wrap(Tensor t) { return py::reinterpret_steal<py::object>(THPVariable_Wrap(std::move(t))); }

Tensor tensor_or_none(py::handle object) { return object.is_none() ? Tensor() : THPVariable_Unpack(object.ptr()); }

// A stage as fastrnn/streaming.py describes it: a tuple that begins with its kind.
std::unique_ptr<Stage> stage_of(const py::tuple& of, int64_t batch) {
  const auto kind = of[0].cast<std::string>();
  if (kind == "recurrent") {
    Arguments call;
    const int64_t num_layers = read_packed_options(of[1], call);
    for (py::handle weight : of[2].cast<py::list>()) call.weights.push_back(THPVariable_Unpack(weight.ptr()));
    auto blended = [&](double share, int64_t features) {
      return share > 0 ? OptionalTensor(at::full({1, batch, features}, share, at::kFloat)) : std::nullopt;
    };
    call.zoneout_h = blended(of[5].cast<double>(), call.projected ? call.projection_size : call.hidden_size);
    call.zoneout_c = blended(of[6].cast<double>(), call.hidden_size);
    return std::make_unique<RecurrentStage>(std::move(call), num_layers, batch, tensor_or_none(of[3]),
                                            tensor_or_none(of[4]));
  }
  if (kind == "linear")
    return std::make_unique<LinearStage>(tensor_or_none(of[1]), tensor_or_none(of[2]), batch, of[3].cast<int64_t>(),
                                         of[4].cast<int64_t>());
  if (kind == "layer_norm")
    return std::make_unique<LayerNormStage>(tensor_or_none(of[1]), tensor_or_none(of[2]), of[3].cast<double>(), batch,
                                            of[4].cast<int64_t>());
  return std::make_unique<ActivationStage>(kind, batch, of[1].cast<int64_t>());
}

class PythonStream {
 public:
  // `single`: of one recurrent layer, whose state is not one of a tuple. `watched`: the tensors that the packed weights
  // were made of.
  PythonStream(const py::list& stages, int64_t batch, bool single, const py::list& watched) : single(single) {
    try {
      std::vector<std::unique_ptr<Stage>> made;
      for (py::handle stage : stages) made.push_back(stage_of(py::reinterpret_borrow<py::tuple>(stage), batch));
      stream = std::make_unique<Stream>(std::move(made));
    } catch (const c10::ValueError& error) {
      throw py::value_error(error.what_without_backtrace());
    } catch (const c10::Error& error) {
      throw std::runtime_error(error.what_without_backtrace());
    }
    recurrent = stream->recurrent();
    for (py::handle object : watched) {
      const Tensor& t = THPVariable_Unpack(object.ptr());
      weights.push_back({t, t.const_data_ptr(), t.is_inference() ? 0 : uint32_t(t._version())});
    }
  }

  py::object step(py::handle given, py::handle into) {
    const Using one_at_a_time(*this);
    check_surroundings();
    const Tensor& x = matrix(given, "input", inputs());
    refuse_gradients(x, "input");
    Tensor y;
    if (into.is_none())
      y = at::detail::empty_cpu({batch(), outputs()}, x.scalar_type());
    else
      y = output(into, x);
    const bool x_here = in_rows(x), y_here = in_rows(y) && (into.is_none() || !may_overlap(x, y));
    if (!x_here) read(x, numbers(stream->input));
    const Input from = x_here ? Input{numbers(x), x.stride(0)} : Input{numbers(stream->input), inputs()};
    const Output to = y_here ? Output{numbers(y), y.stride(0)} : Output{numbers(stream->output), outputs()};
    const bool narrow = x.scalar_type() == at::kBFloat16;
    if (stream->work > worth_the_lock) {
      const py::gil_scoped_release release;
      stream->step(from, to, narrow);
    } else {
      stream->step(from, to, narrow);
    }
    if (!y_here) write(to.data, y);
    if (into.is_none()) return wrap(std::move(y));
    if (!y.is_inference()) y.unsafeGetTensorImpl()->bump_version();
    return py::reinterpret_borrow<py::object>(into);
  }

  // Copies of h, or of h and c, of each recurrent layer.
  py::object state() {
    const Using one_at_a_time(*this);
    auto copy = [](const Tensor& t) {
      const Tensor result = at::detail::empty_cpu(t.sizes(), at::kFloat);
      std::memcpy(numbers(result), t.const_data_ptr(), t.nbytes());
      return wrap(result);
    };
    py::list states;
    for (const RecurrentStage* of : recurrent)
      states.append(of->c.defined() ? py::object(py::make_tuple(copy(of->h), copy(of->c))) : copy(of->h));
    return single ? py::object(states[0]) : py::tuple(states);
  }

  void set_state(py::handle given) {
    const Using one_at_a_time(*this);
    const py::list states = single ? list_of(py::make_tuple(given)) : list_of(given);
    if (states.size() != recurrent.size())
      throw py::value_error(text("Expected a tuple of ", recurrent.size(),
                                 " states, one for each recurrent layer, got ",
                                 PyTuple_Check(given.ptr()) || PyList_Check(given.ptr()) ? "" : "a ",
                                 states.empty() ? class_of(given) : std::to_string(states.size())));
    std::vector<std::pair<Tensor, Tensor>> copies;  // nothing is copied until all fit
    for (size_t i = 0; i < recurrent.size(); ++i) {
      const RecurrentStage& of = *recurrent[i];
      const py::object state = states[i];
      if (!of.c.defined()) {
        copies.emplace_back(called::state(state, of.h, "h"), of.h);
        continue;
      }
      const py::list pair = list_of(state);
      if (pair.size() != 2)
        throw py::value_error(text("Expected the state to be a pair (h, c), got a ", class_of(state),
                                   pair.empty() ? "" : " of " + std::to_string(pair.size())));
      copies.emplace_back(called::state(pair[0], of.h, "h"), of.h);
      copies.emplace_back(called::state(pair[1], of.c, "c"), of.c);
    }
    for (const auto& [from, to] : copies)
      for (int64_t i = 0; i < to.size(0); ++i) read(from.select(0, i), numbers(to) + i * to.size(1) * to.size(2));
  }

  void reset(py::handle mask) {
    const Using one_at_a_time(*this);
    if (mask.is_none()) {
      for (const RecurrentStage* of : recurrent) of->reset([](int64_t) { return true; });
      return;
    }
    const Tensor& t = tensor(mask, "mask");
    if (t.scalar_type() != at::kBool || t.dim() != 1 || t.size(0) != batch())
      throw py::value_error(text("Expected mask to be a bool tensor of size [", batch(),
                                 "], true for the rows to reset, got ", name_of(t.scalar_type()), " of size ",
                                 t.sizes()));
    const bool* const data = t.const_data_ptr<bool>();
    for (const RecurrentStage* of : recurrent) of->reset([&](int64_t row) { return data[row * t.stride(0)]; });
  }

  int64_t batch() const { return stream->first().batch; }

 private:
  // One call at a time: where a step lets other Python threads run, they could call too.
  struct Using {
    explicit Using(PythonStream& stream) : stream(stream) {
      if (stream.in_use)
        throw std::runtime_error(
            "Expected one call of a stream at a time, but another thread is in a call; make a stream for each thread");
      stream.in_use = true;
    }
    ~Using() { stream.in_use = false; }
    Using(const Using&) = delete;
    Using& operator=(const Using&) = delete;
    PythonStream& stream;
  };

  int64_t inputs() const { return stream->first().inputs; }
  int64_t outputs() const { return stream->last().outputs; }

  // The objects in a tuple or list, none of anything else.
  static py::list list_of(py::handle object) {
    const bool listed = PyTuple_Check(object.ptr()) || PyList_Check(object.ptr());
    return listed ? py::list(py::reinterpret_borrow<py::object>(object)) : py::list();
  }

  void check_surroundings() const {
    // Not autocast, profilers and torch_function modes: a step computes the same under them.
    if (!within(c10::impl::tls_local_dispatch_key_set().included_, c10::default_included_set))
      throw std::runtime_error(
          "Expected a step of a stream outside torch.jit.trace, make_fx, functorch's transforms and torch_dispatch "
          "modes: its state is no part of a graph. Use the layer itself there, and pass its state");
    for (const auto& [t, data, version] : weights)
      if (t.const_data_ptr() != data || (!t.is_inference() && t._version() != version))
        throw std::runtime_error(
            "Expected the weights that the stream was made with, but they have changed since; make a new stream, and "
            "give it the old one's state: new.state = old.state");
  }

  // An input or output, checked.
  const Tensor& matrix(py::handle object, const char* name, int64_t features) const {
    const Tensor& t = tensor(object, name);
    if (t.dim() != 2 || t.size(0) != batch() || t.size(1) != features)
      throw py::value_error(text("Expected ", name, " of size [", batch(), ", ", features,
                                 "], a step of each row of the batch, got ", t.sizes()));
    check_floating(t, name);
    return t;
  }

  const Tensor& output(py::handle object, const Tensor& x) const {
    const Tensor& y = matrix(object, "out", outputs());
    if (y.scalar_type() != x.scalar_type())
      throw py::value_error(
          text("Expected out of the input's dtype ", name_of(x.scalar_type()), ", got ", name_of(y.scalar_type())));
    if (y.requires_grad()) throw std::runtime_error("Expected out not to require gradients; pass out.detach()");
    if (repeats(y))
      throw py::value_error(text("Expected out without numbers that share memory, got strides ", y.strides()));
    y.mutable_data_ptr();  // which gives it memory of its own, if it was cloned lazily
    return y;
  }

  std::unique_ptr<Stream> stream;
  struct Watched {
    Tensor weight;
    const void* data;
    uint32_t version;
  };
  std::vector<Watched> weights;
  std::vector<RecurrentStage*> recurrent;
  const bool single;
  bool in_use = false;
};

}  // namespace

void add_stream(py::module_& m) {
  py::class_<PythonStream>(m, "Stream", "layers that run a step at a time (csrc/torch/stream.h)")
      .def(py::init<const py::list&, int64_t, bool, const py::list&>())
      .def("__call__", &PythonStream::step, py::arg("input"), py::kw_only(), py::arg("out") = py::none(),
           "the next step of every row")
      .def_property("state", &PythonStream::state, &PythonStream::set_state,
                    "a copy of h, or of (h, c); of a model a tuple of them")
      .def("reset", &PythonStream::reset, py::arg("mask") = py::none(),
           "Sets rows to their initial state: all, or those where mask, bool (batch), is true.")
      .def_property_readonly("batch_size", &PythonStream::batch);
}

}  // namespace fastrnn
