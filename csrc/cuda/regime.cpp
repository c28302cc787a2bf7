#include "regime.h"

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace fastrnn::cuda {

namespace {

// Unset it is fastest. "cluster:4" and "grid:4" ask for teams of four blocks.
Regime asked_for() {
  const char* given = std::getenv("FASTRNN_CUDA_KERNEL");
  const std::string_view text = given && *given ? given : "fastest", name = text.substr(0, text.find(':'));
  Regime regime = name == "block" ? one_block : name == "cluster" ? block_cluster : whole_grid;
  bool known = name == "block" || name == "cluster" || name == "grid";
  if (known && name.size() < text.size()) {
    int blocks = 0;
    const auto [end, error] = std::from_chars(text.data() + name.size() + 1, text.data() + text.size(), blocks);
    known = error == std::errc() && end == text.data() + text.size() && blocks >= regime.least_blocks &&
            blocks <= regime.most_blocks;
    regime.least_blocks = regime.most_blocks = blocks;
  }
  if (known) return regime;
  if (text == "fastest") return what_is_fastest;
  if (text == "step") return step_by_step;
  throw std::invalid_argument(
      "FASTRNN_CUDA_KERNEL must be fastest, step, block, cluster or grid, or with the number of blocks in a team "
      "cluster:2 to "
      "cluster:16 or grid:1 and more, got " +
      std::string(text));
}

}  // namespace

Regime regime_for(const CellDescription& cell, Precision precision) {
  const Regime regime = asked_for();
  const bool served = precision.number == Number::bfloat16 || precision.number == Number::float16 ||
                      (precision.number == Number::float32 && precision.tf32);
  return served && !cell.gated && !cell.normalized ? regime : step_by_step;
}

}  // namespace fastrnn::cuda
