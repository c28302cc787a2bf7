#include "user_cells.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <pybind11/stl.h>
#include <torch/csrc/autograd/python_variable.h>

#include <optional>
#include <vector>

#include "../cpu/interpreter_table.h"
#include "../cpu/thread_count.h"
#include "checked_program.h"
#include "threads.h"

namespace py = pybind11;

namespace fastrnn {

namespace {

using at::Tensor;

// Tensors and what may be in their place: None.
Tensor taken(const py::handle& object) { return object.is_none() ? Tensor() : THPVariable_Unpack(object.ptr()); }
std::vector<Tensor> all(const py::list& list) {
  std::vector<Tensor> found;
  for (py::handle each : list) found.push_back(taken(each));
  return found;
}
py::object given(const Tensor& t) {
  if (!t.defined()) return py::none();
  return py::reinterpret_steal<py::object>(THPVariable_Wrap(t));
}
py::list given(const std::vector<Tensor>& tensors) {
  py::list list;
  for (const Tensor& t : tensors) list.append(given(t));
  return list;
}

// The operands of a call, in the order in which Python gives them (fastrnn/_cell/kernels.py).
struct Operands {
  bool reverse;
  int64_t batch;
  Tensor first, active, resets, x, w_ih, b_ih, w_hh, b_hh;
  std::vector<Tensor> vectors, numbers, begin, initial;

  explicit Operands(const py::tuple& of)
      : reverse(of[0].cast<bool>()), batch(of[1].cast<int64_t>()), first(taken(of[2])), active(taken(of[3])),
        resets(taken(of[4])), x(taken(of[5])), w_ih(taken(of[6])), b_ih(taken(of[7])), w_hh(taken(of[8])),
        b_hh(taken(of[9])), vectors(all(of[10])), numbers(all(of[11])), begin(all(of[12])), initial(all(of[13])) {
    TORCH_CHECK(x.defined() && w_ih.defined() && x.dim() == 2 && w_ih.dim() == 2, "Expected x (N, I) and weight_ih");
  }
};

// One cell: its programs, and how its rows lie.
class CellKernel {
 public:
  CellKernel(const CheckedProgram& inference, const CheckedProgram& forward, const CheckedProgram& backward,
             int recurrent_gates, std::vector<int> input_slots, int gates, int states, int vectors, int per_step,
             int saves, bool reads_h, bool reads_y, std::vector<int> stored)
      : inference(inference), forward(forward), backward(backward), recurrent_gates(recurrent_gates), gates(gates),
        states(states), vectors(vectors), per_step(per_step), saves(saves), input_slots(std::move(input_slots)),
        stored(std::move(stored)), reads_h(reads_h), reads_y(reads_y) {
    TORCH_CHECK_VALUE(gates <= most_gates && states <= most_states && vectors <= most_numbers &&
                          per_step <= most_numbers && recurrent_gates <= gates,
                      "A cell has at most ", most_gates, " gates, ", most_states, " states, ", most_numbers,
                      " vectors and ", most_numbers, " numbers per step");
    for (int slot : this->input_slots) TORCH_CHECK_VALUE(slot >= 0 && slot < gates, "There is no gate ", slot);
    for (int k : this->stored) TORCH_CHECK_VALUE(k > 0 && k < states, "There is no state ", k);
    const int of_step = gates + states + vectors + per_step;
    const int of_gradient = saves + reads_h + reads_y + 2 * int(this->stored.size()) + vectors + per_step + states;
    check(inference, of_step, states);
    check(forward, of_step, states + saves);
    check(backward, of_gradient, of_step);
  }

  py::tuple run_forward(const py::tuple& operands, bool training, const std::vector<bool>& keep, bool ragged) const {
    const Operands call(operands);
    return call.x.scalar_type() == at::kDouble ? forward_in<double>(call, training, keep, ragged)
                                               : forward_in<float>(call, training, keep, ragged);
  }
  py::tuple run_backward(const py::tuple& operands, const py::list& every, const Tensor& saved, const py::list& d_every,
                         const py::list& d_last, const std::vector<bool>& needed, bool ragged) const {
    const Operands call(operands);
    return call.x.scalar_type() == at::kDouble
               ? backward_in<double>(call, all(every), saved, all(d_every), all(d_last), needed, ragged)
               : backward_in<float>(call, all(every), saved, all(d_every), all(d_last), needed, ragged);
  }

 private:
  static void check(const CheckedProgram& p, int inputs, int outputs) {
    TORCH_CHECK_VALUE(p.program().inputs == inputs && p.program().outputs == outputs, "Expected a program of ", inputs,
                      " inputs and ", outputs, " outputs, got ", p.program().inputs, " and ", p.program().outputs);
  }

  template <class T>
  static T* data(const Tensor& t, at::IntArrayRef sizes, const char* name) {
    if (!t.defined()) return nullptr;
    constexpr auto dtype = sizeof(T) == 4 ? at::kFloat : at::kDouble;
    TORCH_CHECK(t.scalar_type() == dtype && t.is_cpu() && t.is_contiguous() && t.sizes() == sizes, "Expected ", name,
                " of size ", sizes, ", contiguous, on the cpu, of dtype ", dtype, "; got size ", t.sizes(), " of ",
                t.scalar_type());
    return t.data_ptr<T>();
  }

  template <class T>
  CellLoop<T> described(const Operands& call, int64_t& rows) const {
    CellLoop<T> p{};
    TORCH_CHECK(call.w_hh.defined() == (recurrent_gates > 0), "Expected weight_hh where there are recurrent gates");
    p.gates = gates, p.recurrent_gates = recurrent_gates, p.input_gates = int(input_slots.size()), p.states = states;
    p.vectors = vectors, p.per_step = per_step, p.saves = saves, p.reads_h = reads_h, p.reads_y = reads_y;
    std::copy(input_slots.begin(), input_slots.end(), p.input_slots);
    p.stored_states = int(stored.size());
    std::copy(stored.begin(), stored.end(), p.stored);
    p.gradient = backward.program();
    p.reverse = call.reverse, p.threads = wanted_threads();
    p.times = call.first.numel();
    TORCH_CHECK(p.times > 0 && call.active.sizes() == call.first.sizes() && call.first.is_contiguous() &&
                    call.active.is_contiguous() && call.first.scalar_type() == at::kLong &&
                    call.active.scalar_type() == at::kLong,
                "Expected the first row and the number of rows of each time as int64");
    p.first = call.first.data_ptr<int64_t>(), p.active = call.active.data_ptr<int64_t>();
    rows = call.x.size(0), p.input_size = call.x.size(1), p.hidden = call.w_ih.size(0) / p.input_gates;
    TORCH_CHECK(p.hidden > 0 && call.batch > 0, "Expected at least one unit and one row");
    p.batch = call.batch;
    for (int64_t t = 0; t < p.times; ++t)
      TORCH_CHECK(p.active[t] >= 0 && p.active[t] <= p.batch && (t == 0 || p.active[t] <= p.active[t - 1]) &&
                      p.first[t] >= 0 && p.first[t] + p.active[t] <= rows,
                  "Expected rows that lie in those of the gates and never become more, got ", p.active[t], " at ", t);
    if (call.resets.defined()) {
      TORCH_CHECK(call.resets.scalar_type() == at::kBool && call.resets.is_contiguous() && call.resets.numel() == rows,
                  "Expected resets for each row");
      p.resets = static_cast<const uint8_t*>(call.resets.data_ptr());
    }
    p.x = data<T>(call.x, {rows, p.input_size}, "x");
    p.w_ih = data<T>(call.w_ih, {p.input_gates * p.hidden, p.input_size}, "weight_ih");
    p.b_ih = data<T>(call.b_ih, {p.input_gates * p.hidden}, "bias_ih");
    p.w_hh = data<T>(call.w_hh, {recurrent_gates * p.hidden, p.hidden}, "weight_hh");
    p.b_hh = data<T>(call.b_hh, {recurrent_gates * p.hidden}, "bias_hh");
    TORCH_CHECK(int(call.vectors.size()) == vectors && int(call.numbers.size()) == per_step &&
                    int(call.begin.size()) == states && int(call.initial.size()) == states,
                "Expected as many vectors, numbers per step and states as the cell has");
    for (int k = 0; k < vectors; ++k) p.vector[k] = data<T>(call.vectors[k], {p.hidden}, "a vector");
    for (int k = 0; k < per_step; ++k) p.numbers[k] = data<T>(call.numbers[k], {rows}, "numbers per step");
    for (int k = 0; k < states; ++k) {
      p.begin[k] = data<T>(call.begin[k], {p.hidden}, "what a state begins with");
      p.initial[k] = data<T>(call.initial[k], {p.batch, p.hidden}, "an initial state");
    }
    return p;
  }

  // The last states, those after every step of the states to keep, and what the backward pass needs.
  template <class T>
  py::tuple forward_in(const Operands& call, bool training, const std::vector<bool>& keep, bool ragged) const {
    int64_t rows;
    CellLoop<T> p = described<T>(call, rows);
    TORCH_CHECK(int(keep.size()) == states && keep[0], "Expected h to be kept");
    p.step = (training ? forward : inference).program();
    std::vector<Tensor> every(states), last(states);
    for (int k = 0; k < states; ++k) {
      if (keep[k])
        every[k] =
            ragged ? at::zeros({rows, p.hidden}, call.x.options()) : at::empty({rows, p.hidden}, call.x.options());
      last[k] = at::empty({p.batch, p.hidden}, call.x.options());
      p.every[k] = keep[k] ? every[k].data_ptr<T>() : nullptr;
      p.last[k] = last[k].data_ptr<T>();
    }
    Tensor saved = at::empty({training ? rows : 0, saves * p.hidden}, call.x.options());
    p.saved = training ? saved.data_ptr<T>() : nullptr;
    {
      py::gil_scoped_release release;
      const CallThreads threads(p.threads);
      p.threads = threads.count;
      passes<T>().forward(p);
    }
    return py::make_tuple(given(last), given(every), given(saved));
  }

  // The gradients of x, weight_ih, bias_ih, weight_hh, bias_hh and each vector, where they are needed, of the numbers
  // per step (N, per_step) and of the initial states.
  template <class T>
  py::tuple backward_in(const Operands& call, const std::vector<Tensor>& every, const Tensor& saved,
                        const std::vector<Tensor>& d_every, const std::vector<Tensor>& d_last,
                        const std::vector<bool>& needed, bool ragged) const {
    int64_t rows;
    CellLoop<T> p = described<T>(call, rows);
    const auto made = [&](at::IntArrayRef sizes) {
      return ragged ? at::zeros(sizes, call.x.options()) : at::empty(sizes, call.x.options());
    };
    TORCH_CHECK(int(every.size()) == states && int(d_every.size()) == states && int(d_last.size()) == states,
                "Expected as many states as the cell has");
    for (int k = 0; k < states; ++k) {
      p.every[k] = data<T>(every[k], {rows, p.hidden}, "states");
      p.d_every[k] = data<T>(d_every[k], {rows, p.hidden}, "gradients of states");
      p.d_last[k] = data<T>(d_last[k], {p.batch, p.hidden}, "gradients of last states");
    }
    TORCH_CHECK(every[0].defined(), "Expected h of every step");
    for (int k : stored) TORCH_CHECK(every[k].defined(), "Expected state ", k, " of every step");
    p.saved = data<T>(saved, {rows, saves * p.hidden}, "what was saved");
    std::vector<Tensor> d_initial(states);
    for (int k = 0; k < states; ++k) {
      d_initial[k] = at::empty({p.batch, p.hidden}, call.x.options());
      p.d_initial[k] = d_initial[k].data_ptr<T>();
    }
    const Tensor d_numbers = made({rows, per_step});
    p.d_numbers = d_numbers.data_ptr<T>();
    TORCH_CHECK(int(needed.size()) == 5 + vectors, "Expected whether each of ", 5 + vectors, " gradients is needed");
    std::vector<Tensor> found(needed.size());
    const auto wanted = [&](size_t i, const Tensor& of, bool zeros = false) -> T* {
      if (!needed[i] || !of.defined()) return nullptr;
      found[i] = zeros ? at::zeros(of.sizes(), of.options()) : at::empty(of.sizes(), of.options());
      return found[i].template data_ptr<T>();
    };
    p.d_x = wanted(0, call.x, ragged), p.d_w_ih = wanted(1, call.w_ih), p.d_b_ih = wanted(2, call.b_ih);
    p.d_w_hh = wanted(3, call.w_hh), p.d_b_hh = wanted(4, call.b_hh);
    for (int k = 0; k < vectors; ++k) p.d_vector[k] = wanted(5 + k, call.vectors[k]);
    {
      py::gil_scoped_release release;
      const CallThreads threads(p.threads);
      p.threads = threads.count;
      passes<T>().backward(p);
    }
    return py::make_tuple(given(found), given(d_numbers), given(d_initial));
  }

  template <class T>
  static const CellPasses<T>& passes() {
    if constexpr (sizeof(T) == 4)
      return interpreter().of_float;
    else
      return interpreter().of_double;
  }

  const CheckedProgram inference, forward, backward;
  const int recurrent_gates, gates, states, vectors, per_step, saves;
  const std::vector<int> input_slots, stored;
  const bool reads_h, reads_y;
};

}  // namespace

void add_user_cells(py::module_& m) {
  py::class_<CellKernel>(m, "CellKernel", "the time loop of one cell (csrc/cells/cell_loop.h)")
      .def(py::init<const CheckedProgram&, const CheckedProgram&, const CheckedProgram&, int, std::vector<int>, int,
                    int, int, int, int, bool, bool, std::vector<int>>(),
           py::arg("inference"), py::arg("forward"), py::arg("backward"), py::arg("recurrent_gates"),
           py::arg("input_slots"), py::arg("gates"), py::arg("states"), py::arg("vectors"), py::arg("per_step"),
           py::arg("saves"), py::arg("reads_h"), py::arg("reads_y"), py::arg("stored"))
      .def("forward", &CellKernel::run_forward)
      .def("backward",
           [](const CellKernel& kernel, const py::tuple& operands, const py::list& every, const py::object& saved,
              const py::list& d_every, const py::list& d_last, const std::vector<bool>& needed, bool ragged) {
             return kernel.run_backward(operands, every, taken(saved), d_every, d_last, needed, ragged);
           });
}

}  // namespace fastrnn
