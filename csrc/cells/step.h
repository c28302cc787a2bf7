// What the step of a user's cell is written in, where fastrnn/_cell/emit.py writes it as C++: numbers of a type V, of
// which each device has its own. cpu/step.h: a SIMD register; cuda/step.h: one number of a thread. V brings + - * / and
// the functions of the interpreter by their names.
#pragma once
#include "cell.h"

namespace fastrnn {

// How a constant becomes a V: `of` of a specialization.
template <class V>
struct Constant;

template <class V>
FASTRNN_CELL V constant_of(double k) {
  return Constant<V>::of(k);
}

}  // namespace fastrnn
