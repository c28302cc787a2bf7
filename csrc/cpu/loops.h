// Which time loops run a cell.
#pragma once
#include <type_traits>

#include "../cells/registry.h"
#include "backward.h"
#include "forward.h"
#include "layer_norm_backward.h"
#include "layer_norm_forward.h"

namespace fastrnn::FASTRNN_TARGET {

template <class Cell, class T>
struct Loops {
  using Forwards = Forward<Cell, T>;
  using Backwards = Backward<Cell, T>;
};
template <class Plain, class T>
struct Loops<LayerNorm<Plain>, T> {
  using Forwards = LayerNormForward<LayerNorm<Plain>, T>;
  using Backwards = LayerNormBackward<LayerNorm<Plain>, T>;
};

// Products of bfloat16 serve plain cells only (see kernels_avx512_bf16.cpp).
template <class T>
using CellsOf = std::conditional_t<rounds_factors<T>, PlainCells, Cells>;

}  // namespace fastrnn::FASTRNN_TARGET
