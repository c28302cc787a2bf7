#include "stream.h"

#include <ATen/ops/zeros.h>

#include "../cpu/thread_count.h"
#include "problem.h"
#include "threads.h"

namespace fastrnn {

Stream::Stream(std::vector<std::unique_ptr<Stage>> given) : stages(std::move(given)) {
  input = at::zeros({first().batch, first().inputs}), output = at::zeros({last().batch, last().outputs});
  for (size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = *stages[i];
    if (i > 0) {
      const Stage& before = *stages[i - 1];
      TORCH_CHECK_VALUE(stage.inputs == before.outputs, "Expected a module of ", before.outputs,
                        " inputs, as many as the one before has outputs, got one of ", stage.inputs);
      between.push_back(at::zeros({stage.batch, stage.inputs}));
    }
    work += stage.work();
    alone &= stage.threads() == 1;
  }
}

std::vector<RecurrentStage*> Stream::recurrent() const {
  std::vector<RecurrentStage*> found;
  for (const auto& stage : stages)
    if (auto* const layers = dynamic_cast<RecurrentStage*>(stage.get())) found.push_back(layers);
  return found;
}

void Stream::step(Input x, Output y, bool rounds_rows) {
  auto run = [&](int threads) {
    const How how{threads, rounds_rows};
    Input from = x;
    for (size_t i = 0; i < between.size(); ++i) {
      const Output to{pointer<float>(between[i]), between[i].size(1)};
      stages[i]->step(from, to, how);
      from = {to.data, to.row};
    }
    stages.back()->step(from, y, how);
  };
  if (alone) return run(1);
  const CallThreads threads(wanted_threads());
  run(threads.count);
}

}  // namespace fastrnn
