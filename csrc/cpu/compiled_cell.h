// Makes the functions of a library (../cells/compiled_cell.h) of a cell whose programs were written as C++: one loop
// over the units, a register of them at a time, in which everything between inputs and outputs stays in registers.
#pragma once
#include "../cells/compiled_cell.h"
#include "step.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T, class Step>
FASTRNN_INLINE void step_units(const T* const* in, T* const* out, int64_t at, int n) {
  Rounded<T> from[Step::inputs], to[Step::outputs];
  for (int k = 0; k < Step::inputs; ++k) from[k] = Rounded<T>::load(in[k] + at, n);
  Step::step(from, to);
  for (int k = 0; k < Step::outputs; ++k) to[k].store(out[k] + at, n);
}

// An output may lie where an input does: a register of all inputs is read before one of an output is written.
template <class T, class Step>
void run_compiled(const T* const* given_in, T* const* given_out, int64_t n) {
  constexpr int lanes = Vec<T>::lanes;
  const T* in[Step::inputs];  // of our own: what is written to outputs cannot be these
  T* out[Step::outputs];
  for (int k = 0; k < Step::inputs; ++k) in[k] = given_in[k];
  for (int k = 0; k < Step::outputs; ++k) out[k] = given_out[k];
  int64_t at = 0;
  for (; at + lanes <= n; at += lanes) step_units<T, Step>(in, out, at, lanes);
  if (at < n) step_units<T, Step>(in, out, at, int(n - at));
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
