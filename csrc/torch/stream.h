// Stages that run one step at a time, one after the other, and keep their states.
#pragma once
#include "stages.h"

namespace fastrnn {

class Stream {
 public:
  // Throws c10::Error where the outputs of a stage are not as many as the inputs of the next.
  explicit Stream(std::vector<std::unique_ptr<Stage>> stages);

  // One step. `rounds_rows`: see Arguments. y overlaps neither x nor `input` and `output`, unless it is one of these.
  void step(Input x, Output y, bool rounds_rows);

  std::vector<RecurrentStage*> recurrent() const;
  const Stage& first() const { return *stages.front(); }
  const Stage& last() const { return *stages.back(); }

  at::Tensor input, output;  // (batch, features): room for an input or output that cannot be used where it is
  double work = 0;           // multiplications and additions of a step

 private:
  std::vector<std::unique_ptr<Stage>> stages;
  std::vector<at::Tensor> between;  // what stages hand on
  bool alone = true;                // none has a use for threads
};

}  // namespace fastrnn
