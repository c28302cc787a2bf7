// Makes the functions of a library (../cells/compiled_cell.h) of a cell whose programs were written as C++: one loop
// over the units, a few registers of them at a time, in which everything between inputs and outputs stays in registers.
#pragma once
#include "../cells/compiled_cell.h"
#include "step.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T, class Step, int R>
FASTRNN_INLINE void step_units(const T* const* in, T* const* out, int64_t at, int n) {
  Registers<T, R> from[Step::inputs], to[Step::outputs];
  for (int k = 0; k < Step::inputs; ++k) from[k] = Registers<T, R>::load(in[k] + at, n);
  Step::step(from, to);
  for (int k = 0; k < Step::outputs; ++k) to[k].store(out[k] + at, n);
}

// An output may lie where an input does: of the same units, all inputs are read before an output is written.
template <class T, class Step>
void run_compiled(const T* const* given_in, T* const* given_out, int64_t n) {
  constexpr int lanes = Vec<T>::lanes, side_by_side = FASTRNN_REGISTERS / 8;
  const T* in[Step::inputs];  // of our own: what is written to outputs cannot be these
  T* out[Step::outputs];
  for (int k = 0; k < Step::inputs; ++k) in[k] = given_in[k];
  for (int k = 0; k < Step::outputs; ++k) out[k] = given_out[k];
  int64_t at = 0;
  for (; at + side_by_side * lanes <= n; at += side_by_side * lanes)
    step_units<T, Step, side_by_side>(in, out, at, side_by_side * lanes);
  for (; at < n; at += lanes) step_units<T, Step, 1>(in, out, at, int(n - at < lanes ? n - at : lanes));
}

template <class T, class Step>
constexpr CompiledStep compiled_step() {
  if constexpr (sizeof(T) == 4)
    return {Step::inputs, Step::outputs, {run_compiled<float, Step>, nullptr}};
  else
    return {Step::inputs, Step::outputs, {nullptr, run_compiled<double, Step>}};
}

template <class T, class Cell>
constexpr CompiledCell compiled_cell() {
  return {compiled_cell_version, compiled_step<T, typename Cell::Inference>(),
          compiled_step<T, typename Cell::Forward>(), compiled_step<T, typename Cell::Backward>()};
}

}  // namespace fastrnn::FASTRNN_TARGET
