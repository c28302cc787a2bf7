#include "stages.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "../cpu/thread_count.h"
#include "problem.h"
#include "threads.h"

namespace fastrnn {

using at::Tensor;

// Steps often come with pauses, in which the other threads fall asleep: to wake them takes 50 us, and a step of as many
// multiplications and additions as this 200 or more on one (docs/adr/0037).
static int threads_for(double work) {
  constexpr double worth_threads = 1e7;
  return work < worth_threads ? 1 : CallThreads(wanted_threads()).count;
}

RecurrentStage::RecurrentStage(Arguments call, int64_t num_layers, int64_t batch, Tensor initial_h, Tensor initial_c)
    : Stage(batch, call.input_size, call.projected ? call.projection_size : call.hidden_size),
      initial_h(std::move(initial_h)), initial_c(std::move(initial_c)) {
  check_weight_count(call, num_layers);
  TORCH_CHECK_VALUE(!call.bidirectional, "Expected layers of one direction");
  const std::vector<Tensor> weights(call.weights.begin(), call.weights.end());
  const size_t per_layer = weights.size() / num_layers;
  h = at::zeros({num_layers, batch, outputs});
  if (call.cell->carries_c) c = at::zeros({num_layers, batch, call.hidden_size});
  call.input = at::zeros({1, batch, inputs}), call.batch_first = false;
  for (int64_t i = 0; i < num_layers; ++i) {
    call.weights.assign(weights.begin() + i * per_layer, weights.begin() + (i + 1) * per_layer);
    call.h0 = h.narrow(0, i, 1);
    if (c.defined()) call.c0 = c.narrow(0, i, 1);
    Tensor output = at::zeros({1, batch, outputs});
    layers.push_back(std::make_unique<One>(call, output));
    One& one = *layers.back();
    one.problem = problem_of<float>(one.layer, 0, output, Tensor(), 0);
    set_final_states(one.problem, one.layer, 0, h, c, i);  // the memory of h0 and c0, which are read before
    one.problem.threads = threads_for(one.work());
    one.pass = kernels().of_float.prepare(one.problem);
    if (call.format == WeightFormat::packed_bfloat16 && kernels().rows_of_bfloat16)
      one.rounding = kernels().of_bfloat16.prepare(one.problem);
    call.input = output, call.input_size = outputs;
  }
  reset([](int64_t) { return true; });
}

void RecurrentStage::step(Input x, Output y, How how) {
  Rows<const float>& first = layers.front()->problem.x;
  Rows<float>& last = layers.back()->problem.y;
  first.data = x.data, first.row = x.row;
  last.data = y.data, last.row = y.row;
  for (const auto& one : layers) {
    const PreparedPass& pass = how.rounds_rows && one->rounding.self ? one->rounding : one->pass;
    pass.run(pass.self, how.threads);
  }
}

int RecurrentStage::threads() const {
  int most = 1;
  for (const auto& one : layers) most = std::max({most, one->pass.threads, one->rounding.threads});
  return most;
}

double RecurrentStage::One::work() const {
  return 2.0 * layer.batch * layer.hidden_size *
         (layer.cell.input_gates * layer.input_size + layer.cell.gates_of_state() * layer.output_size / layer.heads);
}

double RecurrentStage::work() const {
  double sum = 0;
  for (const auto& one : layers) sum += one->work();
  return sum;
}

LinearStage::LinearStage(Tensor weight, Tensor bias, int64_t batch, int64_t inputs, int64_t outputs)
    : Stage(batch, inputs, outputs), weight(std::move(weight)), bias(std::move(bias)) {
  check_sizes(this->weight, {packed_sizes(WeightFormat::packed_float32, 1, outputs, inputs).matrix}, "packed weight");
  check_dtype(this->weight, at::kByte, "packed weight");
  if (this->bias.defined()) check_sizes(this->bias, {outputs}, "bias"), check_dtype(this->bias, at::kFloat, "bias");
  problem.rows = batch, problem.inputs = inputs, problem.outputs = outputs, problem.threads = threads_for(work());
  problem.weight = {pointer<void>(this->weight), WeightFormat::packed_float32};
  problem.bias = pointer<float>(this->bias);
  pass = kernels().prepare_linear(problem);
}

void LinearStage::step(Input x, Output y, How how) {
  problem.x = x.data, problem.x_row = x.row;
  problem.y = y.data, problem.y_row = y.row;
  pass.run(pass.self, how.threads);
}

void ActivationStage::step(Input x, Output y, How) {
  for (int64_t b = 0; b < batch; ++b) kernels().activation_float(which, x.data + b * x.row, y.data + b * y.row, inputs);
}

void LayerNormStage::step(Input x, Output y, How) {
  const float* const w = pointer<float>(weight);
  const float* const shift = pointer<float>(bias);
  for (int64_t b = 0; b < batch; ++b) {
    const float* const from = x.data + b * x.row;
    float* const to = y.data + b * y.row;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < inputs; ++i) sum += from[i];
    const double mean = sum / double(inputs);
    for (int64_t i = 0; i < inputs; ++i) squares += (from[i] - mean) * (from[i] - mean);
    const double scale = 1 / std::sqrt(squares / double(inputs) + eps);
    for (int64_t i = 0; i < inputs; ++i) {
      const double normal = (from[i] - mean) * scale;
      to[i] = float(normal * (w ? w[i] : 1) + (shift ? shift[i] : 0));
    }
  }
}

}  // namespace fastrnn
