// Tensors in, Problem out: the only CPU file that sees at::Tensor. Checks everything a kernel relies on, so that no
// call, however wrong, reads out of bounds.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <pthread.h>
#include <torch/library.h>

#include <vector>

#include "dispatch.h"

namespace fastrnn {
namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

CellKind cell_kind(c10::string_view name) {
  if (name == "rnn_tanh") return CellKind::rnn_tanh;
  if (name == "rnn_relu") return CellKind::rnn_relu;
  if (name == "rnn_sigmoid") return CellKind::rnn_sigmoid;
  if (name == "gru") return CellKind::gru;
  if (name == "gru_reset_before") return CellKind::gru_reset_before;
  if (name == "lstm") return CellKind::lstm;
  TORCH_CHECK_VALUE(false, "cell must be rnn_tanh, rnn_relu, rnn_sigmoid, gru, gru_reset_before or lstm, got ", name);
}

int64_t gate_count(CellKind cell) {
  switch (cell) {
    case CellKind::lstm:
      return 4;
    case CellKind::gru:
    case CellKind::gru_reset_before:
      return 3;
    default:
      return 1;
  }
}

// A child of fork has none of its parent's OpenMP threads, and libgomp would wait for them for ever.
bool forked = false;
const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked = true; });

int usable_threads() { return forked || at::in_parallel_region() ? 1 : at::get_num_threads(); }

void check_sizes(const Tensor& t, at::IntArrayRef expected, const char* name) {
  TORCH_CHECK(t.sizes() == expected, "Expected ", name, " size ", expected, ", got ", t.sizes());
}

void check_dtype(const Tensor& t, at::ScalarType expected, const char* name) {
  TORCH_CHECK(t.scalar_type() == expected, "Expected ", name, " dtype ", expected, ", got ", t.scalar_type());
}

// A layer's sizes and operands, checked, rows contiguous.
struct Layer {
  CellKind cell;
  bool biases, batch_first, packed;
  int64_t directions, per_direction, times, batch, rows, input_size, hidden_size, output_size;
  at::ScalarType dtype;
  Tensor input;
  OptionalTensor h0, c0;
  std::vector<Tensor> weights;
  std::vector<int64_t> active, before;

  Layer(c10::string_view name, const Tensor& input_, const OptionalTensor& batch_sizes, const OptionalTensor& h0_,
        const OptionalTensor& c0_, at::TensorList weights_, bool biases, bool bidirectional, bool batch_first)
      : cell(cell_kind(name)), biases(biases), batch_first(batch_first && !batch_sizes),
        packed(batch_sizes.has_value()), directions(bidirectional ? 2 : 1), dtype(input_.scalar_type()) {
    TORCH_CHECK(dtype == at::kFloat || dtype == at::kDouble, "Expected input dtype float32 or float64, got ", dtype);
    TORCH_CHECK(input_.dim() == (packed ? 2 : 3), "Expected input to have ", packed ? 2 : 3, " dimensions, got ",
                input_.dim());
    read_weights(weights_);
    input = operand(input_, "input");
    if (input.numel() && input.stride(-1) != 1) input = input.contiguous();
    read_lengths(batch_sizes);
    TORCH_CHECK(input.size(-1) == input_size, "input.size(-1) must be equal to input_size. Expected ", input_size,
                ", got ", input.size(-1));
    if (h0_) h0 = state(*h0_, output_size, "h0");
    if (c0_) {
      TORCH_CHECK(cell == CellKind::lstm, "c0 is for lstm only, got one for ", name);
      c0 = state(*c0_, hidden_size, "c0");
    }
  }

  const Tensor& weight(int64_t direction, int64_t i) const { return weights[direction * per_direction + i]; }
  bool projected() const { return output_size != hidden_size; }
  int64_t saved_row() const { return saved_width(cell, hidden_size, projected(), c10::elementSize(dtype)); }

  // With `recompute` the checkpoints, as many as there can be. A cell that saves nothing anyway has nothing to
  // recompute.
  std::vector<int64_t> saved_sizes(bool recompute) const {
    if (!recompute || saved_row() == 0) return {directions, rows, saved_row()};
    const int64_t checkpoints = (times + least_steps_per_checkpoint - 1) / least_steps_per_checkpoint;
    return {directions, checkpoints, batch, checkpoint_width(cell, hidden_size, c10::elementSize(dtype))};
  }

  // Not through the dispatcher: it takes 0.3 us, as long as a step of a small layer.
  Tensor empty(at::IntArrayRef sizes) const { return at::detail::empty_cpu(sizes, dtype); }

  Tensor empty_output() const {
    int64_t features = directions * output_size;
    if (packed) return empty({rows, features});
    return batch_first ? empty({batch, times, features}) : empty({times, batch, features});
  }

  template <class T>
  Rows<T> rows_of(const Tensor& t, int64_t offset = 0) const {
    T* data = static_cast<T*>(t.data_ptr()) + offset;
    if (packed) return {data, 0, t.stride(0), t.stride(0)};
    return {data, t.stride(batch_first ? 1 : 0), 0, t.stride(batch_first ? 0 : 1)};
  }

  // What forward and backward ask of the kernels alike.
  template <class T>
  Problem<T> problem(int64_t d, const Tensor& output, const Tensor& saved) const {
    Problem<T> p{};
    p.cell = cell, p.reverse = d == 1, p.threads = usable_threads();
    p.times = times, p.batch = batch, p.input_size = input_size, p.hidden_size = hidden_size;
    p.projection_size = projected() ? output_size : 0;
    p.active = active.data(), p.before = before.data();
    p.w_ih = weight(d, 0).const_data_ptr<T>(), p.w_hh = weight(d, 1).const_data_ptr<T>();
    if (biases) p.b_ih = weight(d, 2).const_data_ptr<T>(), p.b_hh = weight(d, 3).const_data_ptr<T>();
    if (projected()) p.w_hr = weight(d, per_direction - 1).const_data_ptr<T>();
    if (h0) p.h0 = h0->const_data_ptr<T>() + d * batch * output_size;
    if (c0) p.c0 = c0->const_data_ptr<T>() + d * batch * hidden_size;
    p.x = rows_of<const T>(input);
    p.y = rows_of<T>(output, d * output_size);
    int64_t width = saved_row();
    p.recompute = saved.dim() == 4;
    if (saved.numel() && p.recompute) p.checkpoints = saved.mutable_data_ptr<T>() + d * saved.stride(0);
    if (saved.numel() && !p.recompute) p.saved = {saved.mutable_data_ptr<T>() + d * rows * width, 0, width, width};
    return p;
  }

 private:
  Tensor operand(const Tensor& t, const char* name) const {
    TORCH_CHECK(t.device().is_cpu(), "Expected ", name, " on the cpu, got ", t.device());
    check_dtype(t, dtype, name);
    return t;
  }

  void read_weights(at::TensorList given) {
    int64_t plain = biases ? 4 : 2;
    per_direction = int64_t(given.size()) / directions;
    bool has_projection = per_direction == plain + 1;
    TORCH_CHECK(int64_t(given.size()) == directions * per_direction && (per_direction == plain || has_projection),
                "Expected ", plain, " weights per direction, or ", plain + 1, " with a projection, got ", given.size(),
                " for ", directions, " direction(s)");
    TORCH_CHECK(!has_projection || cell == CellKind::lstm, "a projection is for lstm only");
    TORCH_CHECK(given[0].dim() == 2 && given[1].dim() == 2,
                "Expected weight_ih and weight_hh to have 2 dimensions, got ", given[0].dim(), " and ", given[1].dim());
    int64_t gates = gate_count(cell);
    input_size = given[0].size(1), hidden_size = given[0].size(0) / gates, output_size = given[1].size(1);
    TORCH_CHECK(hidden_size > 0 && input_size > 0, "Expected sizes greater than zero, got weight_ih of size ",
                given[0].sizes());
    TORCH_CHECK(has_projection ? output_size > 0 && output_size < hidden_size : output_size == hidden_size,
                "Expected weight_hh size ", at::IntArrayRef{gates * hidden_size, hidden_size}, ", got ",
                given[1].sizes());
    for (int64_t i = 0; i < int64_t(given.size()); ++i) {
      int64_t kind = i % per_direction;
      const Tensor& w = given[i];
      if (has_projection && kind == per_direction - 1)
        check_sizes(w, {output_size, hidden_size}, "weight_hr");
      else if (kind == 0)
        check_sizes(w, {gates * hidden_size, input_size}, "weight_ih");
      else if (kind == 1)
        check_sizes(w, {gates * hidden_size, output_size}, "weight_hh");
      else
        check_sizes(w, {gates * hidden_size}, "bias");
      weights.push_back(operand(w, "weight").contiguous());
    }
  }

  void read_lengths(const OptionalTensor& batch_sizes) {
    if (packed) {
      const Tensor& sizes = *batch_sizes;
      TORCH_CHECK(
          sizes.dim() == 1 && sizes.scalar_type() == at::kLong && sizes.device().is_cpu() && sizes.is_contiguous(),
          "Expected batch_sizes to be a contiguous 1-D int64 tensor on the cpu, got ", sizes.dim(), "-D ",
          sizes.scalar_type(), " on ", sizes.device());
      const int64_t* n = sizes.const_data_ptr<int64_t>();
      active.assign(n, n + sizes.numel());
    } else {
      active.assign(input.size(batch_first ? 1 : 0), input.size(batch_first ? 0 : 1));
    }
    times = int64_t(active.size());
    TORCH_CHECK(times > 0, "Expected sequence length to be larger than 0 in RNN");
    batch = active[0];
    before.assign(times + 1, 0);
    for (int64_t t = 0; t < times; ++t) {
      TORCH_CHECK(!packed || (active[t] > 0 && (t == 0 || active[t] <= active[t - 1])),
                  "Expected batch_sizes to be positive and not to increase, got ", active[t], " at ", t);
      before[t + 1] = before[t] + active[t];
    }
    rows = before[times];
    TORCH_CHECK(!packed || input.size(0) == rows, "Expected packed input of ", rows,
                " rows (the sum of batch_sizes), got ", input.size(0));
  }

  Tensor state(const Tensor& t, int64_t size, const char* name) const {
    check_sizes(t, {directions, batch, size}, name);
    return operand(t, name).contiguous();
  }
};

void run(const Problem<float>& p, bool forward) { forward ? kernels().forward_float(p) : kernels().backward_float(p); }
void run(const Problem<double>& p, bool forward) {
  forward ? kernels().forward_double(p) : kernels().backward_double(p);
}

template <class T>
void run_forward(const Layer& layer, const Tensor& output, const Tensor& hn, const Tensor& cn, const Tensor& saved) {
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T> p = layer.problem<T>(d, output, saved);
    p.hn = hn.mutable_data_ptr<T>() + d * layer.batch * layer.output_size;
    if (cn.numel()) p.cn = cn.mutable_data_ptr<T>() + d * layer.batch * layer.hidden_size;
    run(p, true);
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward(c10::string_view cell, const Tensor& input,
                                                   const OptionalTensor& batch_sizes, const OptionalTensor& h0,
                                                   const OptionalTensor& c0, at::TensorList weights, bool biases,
                                                   bool bidirectional, bool batch_first, bool save, bool recompute) {
  Layer layer(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  Tensor output = layer.empty_output();
  Tensor hn = layer.empty({layer.directions, layer.batch, layer.output_size});
  Tensor cn = layer.empty({0}), saved = layer.empty({0});
  if (layer.cell == CellKind::lstm) cn = layer.empty({layer.directions, layer.batch, layer.hidden_size});
  if (save) saved = layer.empty(layer.saved_sizes(recompute));
  if (layer.rows > 0) {
    if (layer.dtype == at::kDouble)
      run_forward<double>(layer, output, hn, cn, saved);
    else
      run_forward<float>(layer, output, hn, cn, saved);
  }
  return {output, hn, cn, saved};
}

// The gradient of one thing at a time: wanted or not, and if so a tensor to write to.
struct Gradients {
  Tensor input, h0, c0;
  std::vector<Tensor> weights;
};

template <class T>
T* data_or_null(const Tensor& t, int64_t offset = 0) {
  return t.defined() ? t.mutable_data_ptr<T>() + offset : nullptr;
}

template <class T>
void run_backward(const Layer& layer, const Tensor& dy, const Tensor& dhn, const Tensor& dcn, const Tensor& output,
                  const Tensor& saved, const Gradients& grads) {
  bool dx_written = false;
  for (int64_t d = 0; d < layer.directions; ++d) {
    Problem<T> p = layer.problem<T>(d, output, saved);
    int64_t h_offset = d * layer.batch * layer.output_size, c_offset = d * layer.batch * layer.hidden_size;
    if (dy.defined()) p.dy = layer.rows_of<const T>(dy, d * layer.output_size);
    p.dhn = data_or_null<T>(dhn, h_offset), p.dcn = data_or_null<T>(dcn, c_offset);
    if (grads.input.defined()) p.dx = layer.rows_of<T>(grads.input), p.add_to_dx = dx_written, dx_written = true;
    p.dh0 = data_or_null<T>(grads.h0, h_offset), p.dc0 = data_or_null<T>(grads.c0, c_offset);
    const Tensor* dw = &grads.weights[d * layer.per_direction];
    p.dw_ih = data_or_null<T>(dw[0]), p.dw_hh = data_or_null<T>(dw[1]);
    if (layer.biases) p.db_ih = data_or_null<T>(dw[2]), p.db_hh = data_or_null<T>(dw[3]);
    if (layer.projected()) p.dw_hr = data_or_null<T>(dw[layer.per_direction - 1]);
    run(p, false);
  }
}

std::vector<Tensor> backward(c10::string_view cell, const OptionalTensor& d_output, const OptionalTensor& d_hn,
                             const OptionalTensor& d_cn, const Tensor& input, const OptionalTensor& batch_sizes,
                             const OptionalTensor& h0, const OptionalTensor& c0, at::TensorList weights,
                             const Tensor& output_, const Tensor& saved, bool biases, bool bidirectional,
                             bool batch_first, c10::List<bool> needs) {
  Layer layer(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first);
  TORCH_CHECK(needs.size() == 3 + weights.size(), "Expected needs for input, h0, c0 and ", weights.size(),
              " weights, got ", needs.size());
  Tensor blank = layer.empty_output();
  auto incoming = [&](const OptionalTensor& t, at::IntArrayRef sizes, const char* name) {
    if (!t) return Tensor();
    check_sizes(*t, sizes, name);
    check_dtype(*t, layer.dtype, name);
    return *t;
  };
  Tensor output = incoming(output_, blank.sizes(), "output"), dy = incoming(d_output, blank.sizes(), "d_output");
  if (dy.defined() && dy.numel() && dy.stride(-1) != 1) dy = dy.contiguous();
  if (output.numel() && output.stride(-1) != 1) output = output.contiguous();
  Tensor dhn = incoming(d_hn, {layer.directions, layer.batch, layer.output_size}, "d_hn");
  Tensor dcn = incoming(d_cn, {layer.directions, layer.batch, layer.hidden_size}, "d_cn");
  if (dhn.defined()) dhn = dhn.contiguous();
  if (dcn.defined()) dcn = dcn.contiguous();
  check_sizes(saved, layer.saved_sizes(saved.dim() == 4), "saved");
  TORCH_CHECK(saved.scalar_type() == layer.dtype && saved.is_contiguous(), "Expected saved as forward returned it");

  auto wanted = [&](int64_t i, at::IntArrayRef sizes) {
    if (!needs.get(i)) return Tensor();
    return layer.rows > 0 ? layer.empty(sizes) : at::zeros(sizes, layer.dtype);
  };
  Gradients grads;
  grads.input = wanted(0, layer.input.sizes());
  if (layer.h0) grads.h0 = wanted(1, layer.h0->sizes());
  if (layer.c0) grads.c0 = wanted(2, layer.c0->sizes());
  for (size_t i = 0; i < weights.size(); ++i) grads.weights.push_back(wanted(3 + i, layer.weights[i].sizes()));
  if (layer.rows > 0) {
    if (layer.dtype == at::kDouble)
      run_backward<double>(layer, dy, dhn, dcn, output, saved, grads);
    else
      run_backward<float>(layer, dy, dhn, dcn, output, saved, grads);
  }
  std::vector<Tensor> result;
  auto hand_out = [&](const Tensor& t) { result.push_back(t.defined() ? t : layer.empty({0})); };
  hand_out(grads.input), hand_out(grads.h0), hand_out(grads.c0);
  for (const Tensor& t : grads.weights) hand_out(t);
  return result;
}

TORCH_LIBRARY_IMPL(fastrnn, CPU, m) {
  m.impl("forward", forward);
  m.impl("backward", backward);
}

}  // namespace
}  // namespace fastrnn
