// A linear layer with packed weights, prepared once and run many times. A number is summed in one order, whatever rows
// there are and whatever the threads.
#pragma once
#include "../sequence/linear.h"
#include "packed.h"

namespace fastrnn::FASTRNN_TARGET {

class Dense {
  static constexpr int slot[] = {0};
  // Short sums, as of a projection (forward.h): nothing squashes their rounding error.
  static constexpr int64_t chain = 32;
  static constexpr double worth_threads = 3e5;  // multiplications and additions, as in plan.h

 public:
  explicit Dense(const Linear& p)
      : p(p), plan(plan_of(p)), weight(plan, Packing::none, p.weight, p.outputs, p.inputs, slot, p.outputs, p.rows),
        zeros(p.bias ? 0 : p.outputs), x(1, p.rows), bias(1, p.rows), y(1, p.rows) {
    if (!p.bias) zeros.clear(p.outputs);
    bias.fill(p.bias ? p.bias : zeros);
  }

  int planned_threads() const { return plan.threads; }

  void run_again(int threads) {
    for (int64_t i = 0; i < p.rows; ++i) x[i] = p.x + i * p.x_row, y[i] = p.y + i * p.y_row;
    const int64_t vectors = divide_up(p.outputs, Vec<float>::lanes);
    parallel(int(smaller(plan.threads, threads)), [&](Team& team) {
      const Range mine = plan.by_rows ? Range{0, vectors} : team.share(vectors);
      weight.times(team, mine, p.rows, true, false, {x, bias, y, 0, 1, chain}, [](Range) {});
    });
  }

 private:
  static Plan plan_of(const Linear& p) {
    Plan plan{};
    const double work = 2.0 * p.rows * p.inputs * p.outputs;
    plan.threads = work < worth_threads ? 1 : int(smaller(p.threads, divide_up(p.outputs, Vec<float>::lanes)));
    if (plan.threads < 1) plan.threads = 1;
    plan.by_rows = plan.threads == 1;
    return plan;
  }

  const Linear& p;
  const Plan plan;
  ForwardWeights<float, 1> weight;
  Buffer<float> zeros;
  RowPointers<const float*> x, bias;
  RowPointers<float*> y;
};

}  // namespace fastrnn::FASTRNN_TARGET
