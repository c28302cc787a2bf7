// The one table of cells. A cell that is listed here runs on every device, in every direction, dtype and layer, and is
// known to Python by its name.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "coupled_lstm.h"
#include "gru.h"
#include "layer_norm.h"
#include "lstm.h"
#include "peephole_lstm.h"
#include "rnn.h"

namespace fastrnn {

template <class... Each>
struct CellList {};
template <class... First, class... Second>
constexpr CellList<First..., Second...> joined(CellList<First...>, CellList<Second...>) {
  return {};
}

using PlainCells = CellList<RNN<Tanh>, RNN<Relu>, RNN<Sigmoid>, GRU, GRUResetBefore, LSTM, PeepholeLSTM, CoupledLSTM>;
using NormalizedCells =
    CellList<LayerNorm<RNN<Tanh>>, LayerNorm<RNN<Relu>>, LayerNorm<RNN<Sigmoid>>, LayerNorm<GRU>, LayerNorm<LSTM>>;
using Cells = decltype(joined(PlainCells{}, NormalizedCells{}));

template <class Cell>
constexpr CellDescription describe() {
  bool same = true;
  for (int g = 0; g < Cell::recurrent_gates; ++g) same &= Cell::input_slots[g] == Cell::recurrent_slots[g];
  const char* const* names = nullptr;
  const int* sizes = nullptr;
  if constexpr (Cell::vectors > 0) names = Cell::vector_names;
  if constexpr (normalizes<Cell>) sizes = Cell::vector_sizes;
  return {.name = Cell::name,
          .slots = Cell::slots,
          .input_gates = Cell::input_gates,
          .recurrent_gates = Cell::recurrent_gates,
          .gated = Cell::gated,
          .carries_c = Cell::carries_c,
          .reads_h = Cell::reads_h,
          .saves = Cell::saves,
          .vectors = Cell::vectors,
          .vector_names = names,
          .vector_sizes = sizes,
          .separate_gradients = !same,
          .goes_back_from_h = goes_back_from_h<Cell>(),
          .normalized = normalizes<Cell>,
          .onednn = requires { Cell::onednn; }};
}

// Its address is what stands for the cell.
template <class Cell>
inline constexpr CellDescription description = describe<Cell>();

template <class... Each>
std::vector<const CellDescription*> descriptions(CellList<Each...>) {
  return {&description<Each>...};
}

// All cells, in the order of the table.
inline const std::vector<const CellDescription*>& all_cells() {
  static const std::vector<const CellDescription*> cells = descriptions(Cells{});
  return cells;
}

// Null where no cell has this name.
inline const CellDescription* find_cell(std::string_view name) {
  for (const CellDescription* cell : all_cells())
    if (cell->name == name) return cell;
  return nullptr;
}

// Calls run<Cell>() for the cell that is described. Throws where the list does not have it.
template <class First, class... Rest, class Run>
auto for_cell(CellList<First, Rest...>, const CellDescription& cell, Run run) {
  if (&cell == &description<First>) return run.template operator()<First>();
  if constexpr (sizeof...(Rest) > 0)
    return for_cell(CellList<Rest...>{}, cell, run);
  else
    throw std::logic_error(std::string("no kernel is compiled for the cell ") + cell.name);
}
}  // namespace fastrnn
