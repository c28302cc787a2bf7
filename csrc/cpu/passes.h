// The passes of a layer for all cells, compiled for one instruction set.
#pragma once
#include "../cells/registry.h"
#include "activations.h"
#include "backward.h"
#include "forward.h"
#include "prepared.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
void forward(const Problem<T>& p) {
  for_cell(*p.cell, [&]<class Cell>() { Forward<Cell, T>(p).run(); });
}

template <class T>
void forward_both(const Problem<T>& one, const Problem<T>& other) {
  for_cell(*one.cell, [&]<class Cell>() {
    if (!side_by_side<Cell>(one)) {
      Forward<Cell, T>(one).run();
      Forward<Cell, T>(other).run();
      return;
    }
    Problem<T> first = one, second = other;
    first.threads = one.threads / 2, second.threads = one.threads - first.threads;
    Forward<Cell, T> forward(first), beside(second);
    forward.run_beside(beside);
  });
}

template <class T>
void backward(const Problem<T>& p) {
  for_cell(*p.cell, [&]<class Cell>() { Backward<Cell, T>(p).run(); });
}

}  // namespace fastrnn::FASTRNN_TARGET
