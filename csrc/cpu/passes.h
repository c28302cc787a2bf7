// The passes of a layer for all cells, compiled for one instruction set.
#pragma once
#include "activations.h"
#include "loops.h"
#include "prepared.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
void forward(const Problem<T>& p) {
  for_cell(CellsOf<T>{}, *p.cell, [&]<class Cell>() { typename Loops<Cell, T>::Forwards(p).run(); });
}

template <class T>
void forward_both(const Problem<T>& one, const Problem<T>& other) {
  for_cell(CellsOf<T>{}, *one.cell, [&]<class Cell>() {
    using Forwards = typename Loops<Cell, T>::Forwards;
    if (!side_by_side<Cell>(one)) {
      Forwards(one).run();
      Forwards(other).run();
      return;
    }
    Problem<T> first = one, second = other;
    first.threads = one.threads / 2, second.threads = one.threads - first.threads;
    Forwards forward(first), beside(second);
    forward.run_beside(beside);
  });
}

template <class T>
void backward(const Problem<T>& p) {
  for_cell(CellsOf<T>{}, *p.cell, [&]<class Cell>() { typename Loops<Cell, T>::Backwards(p).run(); });
}

}  // namespace fastrnn::FASTRNN_TARGET
