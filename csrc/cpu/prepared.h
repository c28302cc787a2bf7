// Passes of a stream, prepared once and run many times. Scratch memory, bias rows and plan stay from run to run; the
// problem's input and output may point elsewhere.
#pragma once
#include "kernel_table.h"
#include "loops.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Pass>
class Prepared {
 public:
  template <class Problem>
  explicit Prepared(const Problem& problem) {
    const Scratch::Use use(scratch);
    pass = new Pass(problem);
  }
  ~Prepared() {
    const Scratch::Use use(scratch);
    delete pass;
  }
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  PreparedPass entry() {
    return {this, pass->planned_threads(),
            [](void* self, int threads) { static_cast<Prepared*>(self)->pass->run_again(threads); },
            [](void* self) { delete static_cast<Prepared*>(self); }};
  }

 private:
  Scratch scratch;
  Pass* pass;
};

template <class T>
PreparedPass prepare(const Problem<T>& p) {
  PreparedPass pass;
  for_cell(CellsOf<T>{}, *p.cell,
           [&]<class Cell>() { pass = (new Prepared<typename Loops<Cell, T>::Forwards>(p))->entry(); });
  return pass;
}

}  // namespace fastrnn::FASTRNN_TARGET
