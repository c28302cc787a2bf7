#include "arguments.h"

namespace fastrnn {

const CellDescription& cell_named(std::string_view name) {
  const CellDescription* cell = find_cell(name);
  if (cell) return *cell;
  std::string names;
  for (const CellDescription* each : all_cells()) names += (names.empty() ? "" : ", ") + std::string(each->name);
  TORCH_CHECK_VALUE(false, "Expected cell to be one of ", names, ", got '", name, "'");
}

WeightFormat packed_format_named(std::string_view name) {
  if (name == "float32") return WeightFormat::packed_float32;
  if (name == "bfloat16") return WeightFormat::packed_bfloat16;
  if (name == "int8") return WeightFormat::packed_int8;
  TORCH_CHECK_VALUE(false, "Expected numbers to be float32, bfloat16 or int8, got '", name, "'");
}

void Reader::take_cell(Arguments& to) { to.cell = &cell_named((next++)->toStringView()); }

void Reader::take_format(Arguments& to) { to.format = packed_format_named((next++)->toStringView()); }

void Reader::take_operands(Arguments& to) {
  take(to.input, to.batch_sizes, to.h0, to.c0);
  for (at::Tensor& weight : (next++)->toTensorVector()) to.weights.push_back(std::move(weight));
}

}  // namespace fastrnn
