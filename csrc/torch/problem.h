// A layer's tensors in, a Problem for the kernels out: the same for every device. T is the kernels' number, or void
// where that is known only when the program runs.
#pragma once
#include <ATen/Context.h>

#include "../sequence/problem.h"
#include "operators.h"

namespace fastrnn {

// Number `offset` of a tensor, null if that is undefined. Asked for as const even where it is written: an output that
// autograd.cpp shares with the user must not be copied because it is read here. What is written is always new.
template <class T>
T* pointer(const at::Tensor& t, int64_t offset = 0) {
  if (!t.defined() || !t.numel()) return nullptr;
  char* const data = static_cast<char*>(const_cast<void*>(t.const_data_ptr()));
  return static_cast<T*>(static_cast<void*>(data + offset * int64_t(t.itemsize())));
}

// The rows of a tensor shaped as the layer's input or output, from a column on.
template <class T>
Rows<T> rows_of(const Layer& layer, const at::Tensor& t, int64_t column = 0) {
  if (!t.defined()) return {};
  if (layer.packed) return {pointer<T>(t, column), 0, t.stride(0), t.stride(0)};
  return {pointer<T>(t, column), t.stride(layer.batch_first ? 1 : 0), 0, t.stride(layer.batch_first ? 0 : 1)};
}

inline WeightFormat weight_format(const Layer& layer) {
  if (layer.weight_dtype == layer.dtype) return WeightFormat::same;
  return layer.weight_dtype == at::kBFloat16 ? WeightFormat::bfloat16 : WeightFormat::float16;
}

// Where c after every step lies in a row of the output.
inline int64_t column_of_c(const Layer& layer, int64_t d) {
  return layer.directions * layer.output_size + d * layer.hidden_size;
}

// What forward and backward ask of the kernels alike, in direction d. A row of `saved` has `saved_row` numbers.
template <class T>
Problem<T> problem_of(const Layer& layer, int64_t d, const at::Tensor& output, const at::Tensor& saved,
                      int64_t saved_row) {
  Problem<T> p{};
  p.cell = &layer.cell, p.reverse = d == 1;
  p.times = layer.steps, p.batch = layer.batch, p.input_size = layer.input_size, p.hidden_size = layer.hidden_size;
  p.projection_size = layer.projected ? layer.output_size : 0, p.heads = layer.heads;
  p.active = layer.active.data(), p.before = layer.before.data();
  p.row_of = layer.row_of.empty() ? nullptr : layer.row_of.data();
  p.resets = layer.resets.empty() ? nullptr : layer.resets.data();
  auto weight = [&](const at::Tensor& t) { return Weights<T>{pointer<void>(t), weight_format(layer)}; };
  auto matrix = [&](const at::Tensor& t) {
    return is_packed(layer.format) ? Weights<T>{pointer<void>(t), layer.format} : weight(t);
  };
  const DirectionWeights& w = layer.weights[d];
  p.w_ih = matrix(w.w_ih), p.w_hh = matrix(w.w_hh), p.w_hr = matrix(w.w_hr);
  p.b_ih = weight(w.b_ih), p.b_hh = weight(w.b_hh);
  for (int k = 0; k < layer.cell.vectors; ++k) p.vectors[k] = weight(w.vectors[k]);
  p.start_h = weight(w.h_0), p.start_c = weight(w.c_0);
  if (layer.h0) p.h0 = pointer<T>(*layer.h0, d * layer.batch * layer.output_size);
  if (layer.c0) p.c0 = pointer<T>(*layer.c0, d * layer.batch * layer.hidden_size);
  if (layer.recurrent_mask.defined())
    p.recurrent_mask = pointer<T>(layer.recurrent_mask, d * layer.recurrent_mask.stride(0));
  p.zoneout_h = rows_of<const T>(layer, layer.zoneout_h, d * layer.output_size);
  p.zoneout_c = rows_of<const T>(layer, layer.zoneout_c, d * layer.hidden_size);
  if (layer.input_dtype == layer.dtype)
    p.x = rows_of<const T>(layer, layer.input);
  else
    p.narrow_x = rows_of<const BFloat16>(layer, layer.input);
  if (output.scalar_type() == layer.dtype)
    p.y = rows_of<T>(layer, output, d * layer.output_size);
  else
    p.narrow_y = rows_of<BFloat16>(layer, output, d * layer.output_size);
  if (layer.every_c) p.every_c = rows_of<T>(layer, output, column_of_c(layer, d));
  p.recompute = layer.recompute;
  p.same_bits = at::globalContext().deterministicAlgorithms();
  if (!saved.defined() || !saved.numel()) return p;
  T* const of_direction = pointer<T>(saved, d * saved.stride(0));
  if (p.recompute)
    p.checkpoints = of_direction;
  else
    p.saved = {of_direction, 0, saved_row, saved_row};
  return p;
}

// Where the final states of direction d go: hn and cn may hold those of a whole stack, the layer's from `first` on.
template <class T>
void set_final_states(Problem<T>& p, const Layer& layer, int64_t d, const at::Tensor& hn, const at::Tensor& cn,
                      int64_t first = 0) {
  p.hn = pointer<T>(hn, (first + d) * layer.batch * layer.output_size);
  p.cn = pointer<T>(cn, (first + d) * layer.batch * layer.hidden_size);
}

template <class T>
void set_gradients(Problem<T>& p, const Layer& layer, int64_t d, const Gradients& gradients) {
  const int64_t of_h = d * layer.batch * layer.output_size, of_c = d * layer.batch * layer.hidden_size;
  p.dy = rows_of<const T>(layer, gradients.output, d * layer.output_size);
  if (layer.every_c) p.devery_c = rows_of<const T>(layer, gradients.output, column_of_c(layer, d));
  p.dhn = pointer<T>(gradients.hn, of_h), p.dcn = pointer<T>(gradients.cn, of_c);
  p.dx = rows_of<T>(layer, gradients.input), p.add_to_dx = d > 0;
  p.dh0 = pointer<T>(gradients.h0, of_h), p.dc0 = pointer<T>(gradients.c0, of_c);
  p.groups = gradients.groups;
  const DirectionWeights& dw = gradients.weights[d];
  p.dw_ih = pointer<T>(dw.w_ih), p.dw_hh = pointer<T>(dw.w_hh), p.dw_hr = pointer<T>(dw.w_hr);
  p.db_ih = pointer<T>(dw.b_ih), p.db_hh = pointer<T>(dw.b_hh);
  for (int k = 0; k < layer.cell.vectors; ++k) p.dvectors[k] = pointer<T>(dw.vectors[k]);
  p.dstart_h = pointer<T>(dw.h_0), p.dstart_c = pointer<T>(dw.c_0);
}

}  // namespace fastrnn
