// A user's cell with programs written by hand, and calls of its loop: for the tests that run it without torch and
// Python.
//
// It has a gate of both products (a), one of the state alone (q) and one of the input alone (n), a vector v, a number s
// per step, and a state c beside h:
//
//   c = v c + s a
//   h = tanh(c + n + q)
#pragma once
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "../../csrc/cells/cell_loop.h"
#include "../../csrc/cpu/interpreter_table.h"

namespace fastrnn::by_hand {

// Places: gates a, q, n, states h, c, v, s; then the new h and c, when training a, and temporaries.
constexpr Instruction inference[] = {
    {Operation::mul, 9, 5, 4},  {Operation::multiply_add, 9, 6, 0, 9},
    {Operation::add, 10, 9, 2}, {Operation::add, 10, 10, 1},
    {Operation::tanh, 7, 10},   {Operation::copy, 8, 9},
};
constexpr Instruction training[] = {
    {Operation::copy, 9, 0},     {Operation::mul, 10, 5, 4},  {Operation::multiply_add, 10, 6, 0, 10},
    {Operation::add, 11, 10, 2}, {Operation::add, 11, 11, 1}, {Operation::tanh, 7, 11},
    {Operation::copy, 8, 10},
};
// Places: a, the new h, c before and after the step, v, s, the gradients of h and c; then those of the old h and c, of
// a, q, n, v and s, and temporaries.
constexpr Instruction gradient[] = {
    {Operation::mul, 15, 1, 1},     {Operation::sub, 15, constant, 15, 0, 1},
    {Operation::mul, 15, 15, 6},    {Operation::add, 16, 7, 15},
    {Operation::copy, 11, 15},      {Operation::copy, 12, 15},
    {Operation::mul, 10, 5, 16},    {Operation::mul, 13, 16, 2},
    {Operation::mul, 14, 16, 0},    {Operation::mul, 9, 4, 16},
    {Operation::copy, 8, constant},
};

// The same with a mean over the units: h = tanh(c - mean(c) + n + q). Places: as above, but a temporary, a row with
// what is read beyond the cut, and a number with the mean.
constexpr Instruction centered_inference[] = {
    {Operation::mul, 9, 5, 4}, {Operation::multiply_add, 10, 6, 0, 9},
    {Operation::mean, 11, 10}, {Operation::sub, 9, 10, 11},
    {Operation::add, 9, 9, 2}, {Operation::add, 9, 9, 1},
    {Operation::tanh, 7, 9},   {Operation::copy, 8, 10},
};
constexpr Instruction centered_training[] = {
    {Operation::copy, 9, 0},     {Operation::mul, 10, 5, 4},   {Operation::multiply_add, 11, 6, 0, 10},
    {Operation::mean, 12, 11},   {Operation::sub, 10, 11, 12}, {Operation::add, 10, 10, 2},
    {Operation::add, 10, 10, 1}, {Operation::tanh, 7, 10},     {Operation::copy, 8, 11},
};
constexpr Instruction centered_gradient[] = {
    {Operation::mul, 15, 1, 1},     {Operation::sub, 15, constant, 15, 0, 1},
    {Operation::mul, 16, 15, 6},    {Operation::mean, 17, 16},
    {Operation::sub, 15, 16, 17},   {Operation::add, 15, 7, 15},
    {Operation::copy, 11, 16},      {Operation::copy, 12, 16},
    {Operation::mul, 10, 5, 15},    {Operation::mul, 13, 15, 2},
    {Operation::mul, 14, 15, 0},    {Operation::mul, 9, 4, 15},
    {Operation::copy, 8, constant},
};
constexpr Cut after_3[] = {{3, 3}}, after_4[] = {{4, 4}};

// The same with a matrix U: h = tanh(U c + n + q). Places: as above, but a temporary and two rows, with what U
// multiplies and the product; two temporaries of the gradient, which returns c after the step once more.
constexpr Instruction multiplied_inference[] = {
    {Operation::mul, 9, 5, 4},
    {Operation::multiply_add, 10, 6, 0, 9},
    {Operation::matrix_product, 11, 10},
    {Operation::add, 9, 11, 2},
    {Operation::add, 9, 9, 1},
    {Operation::tanh, 7, 9},
    {Operation::copy, 8, 10},
};
constexpr Instruction multiplied_training[] = {
    {Operation::copy, 9, 0},
    {Operation::mul, 10, 5, 4},
    {Operation::multiply_add, 11, 6, 0, 10},
    {Operation::matrix_product, 12, 11},
    {Operation::add, 10, 12, 2},
    {Operation::add, 10, 10, 1},
    {Operation::tanh, 7, 10},
    {Operation::copy, 8, 11},
};
constexpr Instruction multiplied_gradient[] = {
    {Operation::mul, 16, 1, 1},          {Operation::sub, 16, constant, 16, 0, 1},
    {Operation::mul, 18, 16, 6},         {Operation::copy, 11, 18},
    {Operation::copy, 12, 18},           {Operation::copy, 15, 3},
    {Operation::matrix_product, 19, 18}, {Operation::add, 16, 7, 19},
    {Operation::mul, 10, 5, 16},         {Operation::mul, 13, 16, 2},
    {Operation::mul, 14, 16, 0},         {Operation::mul, 9, 4, 16},
    {Operation::copy, 8, constant},
};
constexpr Cut at_2[] = {{2, 2, 3}}, at_3[] = {{3, 3, 4}}, at_6[] = {{6, 6, 7}};

struct Programs {
  Program inference, training, gradient;
};
constexpr Programs plain{{inference, std::size(inference), 7, 2, 2},
                         {training, std::size(training), 7, 3, 2},
                         {gradient, std::size(gradient), 8, 7, 2}};
constexpr Programs centered{{centered_inference, std::size(centered_inference), 7, 2, 1, 1, 1, 1, after_3},
                            {centered_training, std::size(centered_training), 7, 3, 1, 1, 1, 1, after_4},
                            {centered_gradient, std::size(centered_gradient), 8, 7, 1, 1, 1, 1, after_4}};
constexpr Programs multiplied{{multiplied_inference, std::size(multiplied_inference), 7, 2, 1, 2, 0, 1, at_2},
                              {multiplied_training, std::size(multiplied_training), 7, 3, 1, 2, 0, 1, at_3},
                              {multiplied_gradient, std::size(multiplied_gradient), 8, 8, 2, 2, 0, 1, at_6}};

struct Shape {
  int64_t times, batch, inputs, hidden;
  bool ragged, resets, reverse, states;  // states: whether initial ones are given, and gradients of the last ones
  bool means, product;
};

using Arrays = std::map<std::string, std::vector<double>>;

inline std::vector<double> random_numbers(int64_t count, std::mt19937& generator) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> numbers(count);
  for (double& each : numbers) each = float(uniform(generator));  // the same in float
  return numbers;
}

struct Operands {
  Shape shape;
  int64_t rows = 0;
  std::vector<int64_t> first, active;
  std::vector<uint8_t> resets;
  Arrays given;      // what the loop reads, by the names of CellLoop; states by their letters
  Arrays gradients;  // of its results: h, c, last_h, last_c

  explicit Operands(const Shape& shape) : shape(shape) {
    std::mt19937 generator(17);
    for (int64_t t = 0; t < shape.times; ++t) {
      first.push_back(rows),
          active.push_back(shape.ragged ? shape.batch - t * (shape.batch - 1) / shape.times : shape.batch);
      rows += active.back();
    }
    for (int64_t i = 0; shape.resets && i < rows; ++i) resets.push_back(generator() % 4 == 0);
    const int64_t hidden = shape.hidden, of_states = shape.states ? shape.batch * hidden : 0;
    const std::map<std::string, int64_t> sizes = {
        {"x", rows * shape.inputs},
        {"w_ih", 2 * hidden * shape.inputs},
        {"w_hh", 2 * hidden * hidden},
        {"b_ih", 2 * hidden},
        {"b_hh", 2 * hidden},
        {"u", shape.product ? hidden * hidden : 0},
        {"v", hidden},
        {"s", rows},
        {"h", of_states},
        {"c", of_states},
    };
    for (const auto& [name, size] : sizes) given[name] = random_numbers(size, generator);
    for (const char* name : {"w_hh", "u"})
      for (double& w : given[name]) w /= std::sqrt(double(hidden));
    for (const char* name : {"h", "c"}) {
      gradients[name] = random_numbers(rows * hidden, generator);
      gradients[std::string("last_") + name] = random_numbers(of_states, generator);
    }
  }
};

// What every result is before a kernel writes it.
constexpr double unwritten = -99;

// Everything that the loop computes, forward and backward: h, c, last_h, last_c, and d_ with the name of what is given.
template <class T>
Arrays run(const Operands& operands, const CellPasses<T>& passes, int threads) {
  using Numbers = std::vector<T>;
  const Shape& shape = operands.shape;
  const int64_t rows = operands.rows, hidden = shape.hidden;
  std::map<std::string, Numbers> arrays;
  const auto kept = [&](const std::string& name, const std::vector<double>& numbers) -> T* {
    arrays[name] = Numbers(numbers.begin(), numbers.end());
    return arrays[name].empty() ? nullptr : arrays[name].data();
  };
  const auto made = [&](const std::string& name, int64_t count) {
    arrays[name] = Numbers(count, T(unwritten));
    return arrays[name].data();
  };
  const auto given = [&](const std::string& name) { return kept("given " + name, operands.given.at(name)); };
  const auto gradient_of = [&](const std::string& name) { return kept("of " + name, operands.gradients.at(name)); };
  const Programs& programs = shape.product ? multiplied : shape.means ? centered : plain;
  CellLoop<T> p{};
  p.gates = 3, p.recurrent_gates = 2, p.input_gates = 2, p.states = 2, p.vectors = 1, p.per_step = 1, p.saves = 1;
  p.input_slots[0] = 0, p.input_slots[1] = 2;
  p.reads_h = false, p.reads_y = true, p.stored_states = 1, p.stored[0] = 1;
  p.reverse = shape.reverse, p.threads = threads, p.times = shape.times, p.batch = shape.batch;
  p.hidden = hidden, p.input_size = shape.inputs;
  p.first = operands.first.data(), p.active = operands.active.data();
  p.resets = shape.resets ? operands.resets.data() : nullptr;
  p.x = given("x"), p.w_ih = given("w_ih"), p.w_hh = given("w_hh"), p.b_ih = given("b_ih"), p.b_hh = given("b_hh");
  p.vector[0] = given("v"), p.numbers[0] = given("s");
  p.matrices = p.products = p.factors = shape.product;
  p.matrix[0] = given("u"), p.product[0] = {0, 1, 4};
  p.initial[0] = given("h"), p.initial[1] = given("c");
  p.begin[0] = kept("begin h", std::vector<double>(hidden, 0.5));
  p.begin[1] = kept("begin c", std::vector<double>(hidden, -0.25));

  p.step = programs.inference;
  p.every[0] = made("h", rows * hidden);
  p.last[0] = made("last_h", shape.batch * hidden), p.last[1] = made("last_c", shape.batch * hidden);
  passes.forward(p);
  const std::map<std::string, Numbers> without_gradient = arrays;

  p.step = programs.training;
  p.every[0] = made("h", rows * hidden), p.every[1] = made("c", rows * hidden);
  p.last[0] = made("last_h", shape.batch * hidden), p.last[1] = made("last_c", shape.batch * hidden);
  p.saved = made("saved", rows * hidden);
  passes.forward(p);
  for (const char* name : {"h", "last_h", "last_c"})
    if (arrays[name] != without_gradient.at(name)) arrays[name].assign(1, T(unwritten));

  p.gradient = programs.gradient;
  p.d_every[0] = gradient_of("h"), p.d_every[1] = gradient_of("c");
  p.d_last[0] = gradient_of("last_h"), p.d_last[1] = gradient_of("last_c");
  p.d_x = made("d_x", rows * shape.inputs), p.d_numbers = made("d_s", rows);
  p.d_w_ih = made("d_w_ih", 2 * hidden * shape.inputs), p.d_w_hh = made("d_w_hh", 2 * hidden * hidden);
  p.d_b_ih = made("d_b_ih", 2 * hidden), p.d_b_hh = made("d_b_hh", 2 * hidden), p.d_vector[0] = made("d_v", hidden);
  p.d_matrix[0] = made("d_u", int64_t(operands.given.at("u").size()));
  p.d_initial[0] = made("d_h", shape.batch * hidden), p.d_initial[1] = made("d_c", shape.batch * hidden);
  passes.backward(p);

  Arrays found;
  for (const auto& [name, numbers] : arrays)
    if (name.find(' ') == std::string::npos) found[name].assign(numbers.begin(), numbers.end());
  return found;
}

}  // namespace fastrnn::by_hand
