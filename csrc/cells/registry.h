// The one table of cells. A cell that is listed here runs on every device, in every direction, dtype and layer, and is
// known to Python by its name.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "coupled_lstm.h"
#include "gru.h"
#include "lstm.h"
#include "peephole_lstm.h"
#include "rnn.h"

namespace fastrnn {

template <class... Each>
struct CellList {};
using Cells = CellList<RNN<Tanh>, RNN<Relu>, RNN<Sigmoid>, GRU, GRUResetBefore, LSTM, PeepholeLSTM, CoupledLSTM>;

template <class Cell>
constexpr CellDescription describe() {
  bool same = true;
  for (int g = 0; g < Cell::recurrent_gates; ++g) same &= Cell::input_slots[g] == Cell::recurrent_slots[g];
  const char* const* names = nullptr;
  if constexpr (Cell::vectors > 0) names = Cell::vector_names;
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
          .separate_gradients = !same,
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

// Calls run<Cell>() for the cell that is described. Throws where the table does not have it.
template <class First, class... Rest, class Run>
auto for_cell(CellList<First, Rest...>, const CellDescription& cell, Run run) {
  if (&cell == &description<First>) return run.template operator()<First>();
  if constexpr (sizeof...(Rest) > 0)
    return for_cell(CellList<Rest...>{}, cell, run);
  else
    throw std::logic_error(std::string("no kernel is compiled for the cell ") + cell.name);
}
template <class Run>
auto for_cell(const CellDescription& cell, Run run) {
  return for_cell(Cells{}, cell, run);
}

}  // namespace fastrnn
