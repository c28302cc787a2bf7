// The loop of a user's cell by the CPU's kernels alone: no torch, no Python. See test_without_torch.py.
//
// What it computes is compared with the cell's equations, row by row in float64, and its gradients with differences
// along random directions. Prints what differs.
#include <cstdio>

#include "user_cell.h"

namespace fastrnn::by_hand {

namespace {

// h, c, last_h and last_c.
Arrays by_equations(const Operands& operands) {
  const Shape& shape = operands.shape;
  const int64_t hidden = shape.hidden;
  const auto at = [&](const char* name) { return operands.given.at(name).data(); };
  Arrays found{{"h", std::vector<double>(operands.rows * hidden)}, {"c", std::vector<double>(operands.rows * hidden)}};
  for (int64_t b = 0; b < shape.batch; ++b) {
    std::vector<double> h(hidden, 0.5), c(hidden, -0.25);
    const std::vector<double> first_h = h, first_c = c;
    if (shape.states) h.assign(at("h") + b * hidden, at("h") + (b + 1) * hidden);
    if (shape.states) c.assign(at("c") + b * hidden, at("c") + (b + 1) * hidden);
    for (int64_t i = 0; i < shape.times; ++i) {
      const int64_t t = shape.reverse ? shape.times - 1 - i : i, row = operands.first[t] + b,
                    after = row + operands.active[t];
      if (b >= operands.active[t]) continue;
      bool anew = shape.resets && operands.resets[row];
      if (shape.reverse)
        anew = shape.resets && t + 1 < shape.times && b < operands.active[t + 1] && operands.resets[after];
      if (anew) h = first_h, c = first_c;
      const double* x = at("x") + row * shape.inputs;
      const auto of_input = [&](int64_t k) {
        const double* w = at("w_ih") + k * shape.inputs;
        double sum = at("b_ih")[k];
        for (int64_t j = 0; j < shape.inputs; ++j) sum += w[j] * x[j];
        return sum;
      };
      const double* before = h.data();
      const auto of_state = [&](int64_t k) {
        const double* w = at("w_hh") + k * hidden;
        double sum = at("b_hh")[k];
        for (int64_t j = 0; j < hidden; ++j) sum += w[j] * before[j];
        return sum;
      };
      std::vector<double> next(hidden);
      double mean = 0;
      for (int64_t u = 0; u < hidden; ++u) {
        c[u] = at("v")[u] * c[u] + at("s")[row] * (of_input(u) + of_state(u));
        if (shape.means) mean += c[u] / hidden;
      }
      for (int64_t u = 0; u < hidden; ++u) {
        double inside = c[u] - mean;
        if (shape.product) inside = 0;
        for (int64_t j = 0; shape.product && j < hidden; ++j) inside += at("u")[u * hidden + j] * c[j];
        next[u] = std::tanh(inside + of_input(hidden + u) + of_state(hidden + u));
      }
      h = next;
      std::copy(h.begin(), h.end(), found["h"].begin() + row * hidden);
      std::copy(c.begin(), c.end(), found["c"].begin() + row * hidden);
    }
    found["last_h"].insert(found["last_h"].end(), h.begin(), h.end());
    found["last_c"].insert(found["last_c"].end(), c.begin(), c.end());
  }
  return found;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double loss(const Operands& operands) {
  const Arrays found = by_equations(operands);
  double sum = 0;
  for (const auto& [name, gradient] : operands.gradients) sum += dot(gradient, found.at(name));
  return sum;
}

class Check {
 public:
  explicit Check(const Operands& operands) : operands(operands) {}

  void differ(const char* name, double error, double most) {
    if (error <= most) return;
    const Shape& s = operands.shape;
    printf("%s of T%d B%d I%d H%d, ragged %d, resets %d, reverse %d, states %d: %g off\n", name, int(s.times),
           int(s.batch), int(s.inputs), int(s.hidden), s.ragged, s.resets, s.reverse, s.states, error);
    ++failures;
  }
  void equal(const Arrays& found, const Arrays& expected, double tolerance) {
    for (const auto& [name, numbers] : expected) {
      double largest = 1, error = found.at(name).size() == numbers.size() ? 0 : INFINITY;
      for (double each : numbers) largest = std::max(largest, std::abs(each));
      for (size_t i = 0; error < INFINITY && i < numbers.size(); ++i) {
        const double off = std::abs(found.at(name)[i] - numbers[i]) / largest;
        if (!(off <= error)) error = off == off ? off : INFINITY;
      }
      differ(name.c_str(), error, tolerance);
    }
  }
  // The loss along random directions, one array at a time.
  void gradients(const Arrays& found) {
    std::mt19937 generator(3);
    for (const auto& [name, numbers] : operands.given) {
      const std::vector<double> direction = random_numbers(int64_t(numbers.size()), generator);
      const auto difference = [&, &name = name](double step) {
        Operands there = operands, back = operands;
        for (size_t i = 0; i < direction.size(); ++i)
          there.given[name][i] += step * direction[i], back.given[name][i] -= step * direction[i];
        return (loss(there) - loss(back)) / (2 * step);
      };
      const double expected = (4 * difference(1e-5) - difference(2e-5)) / 3;  // of the fourth order
      const double slope = dot(found.at("d_" + name), direction);
      differ(("d_" + name).c_str(), std::abs(slope - expected) / std::max(1., std::abs(expected)), 1e-7);
    }
  }

  int failures = 0;

 private:
  const Operands& operands;
};

// A unit, a row and a step; dot products of few rows, by units; by units and by rows, in several chunks.
constexpr Shape shapes[] = {{1, 1, 1, 1, false, false, false, false},  {3, 2, 5, 7, true, true, false, true},
                            {4, 4, 5, 60, true, false, true, false},   {66, 1, 3, 110, false, true, true, true},
                            {12, 3, 9, 77, true, false, true, false},  {40, 9, 4, 33, true, true, true, true},
                            {15, 16, 2, 64, false, true, false, false}};
// With means, of one block of units and of two: by one thread, by rows, and by units and rows in turns.
constexpr Shape shapes_with_means[] = {{3, 2, 5, 7, true, true, false, true, true},
                                       {15, 16, 2, 30, true, true, true, false, true},
                                       {4, 3, 3, 180, true, true, true, true, true},
                                       {2, 1, 3, 260, false, false, false, true, true}};
// With a product inside the step: by one thread, by rows in several chunks, and by units of one row and of several.
constexpr Shape shapes_with_a_product[] = {{3, 2, 5, 7, true, true, false, true, false, true},
                                           {40, 12, 2, 30, true, true, true, false, false, true},
                                           {4, 3, 3, 140, true, true, true, true, false, true},
                                           {66, 1, 3, 110, false, true, false, true, false, true}};

int check() {
  int failures = 0;
  std::vector<Shape> all(std::begin(shapes), std::end(shapes));
  all.insert(all.end(), std::begin(shapes_with_means), std::end(shapes_with_means));
  all.insert(all.end(), std::begin(shapes_with_a_product), std::end(shapes_with_a_product));
  for (const Shape& shape : all) {
    const Operands operands(shape);
    const Arrays alone = run(operands, interpreter().of_double, 1);
    const Arrays of_float = run(operands, interpreter().of_float, 1);
    Check check(operands);
    check.equal(alone, by_equations(operands), 1e-12);
    check.gradients(alone);
    check.equal(of_float, alone, 2e-5);
    for (int threads : {2, 3}) {
      check.equal(run(operands, interpreter().of_double, threads), alone, 0);
      check.equal(run(operands, interpreter().of_float, threads), of_float, 0);
    }
    failures += check.failures;
  }
  return failures;
}

}  // namespace
}  // namespace fastrnn::by_hand

int main() { return fastrnn::by_hand::check() > 0; }
