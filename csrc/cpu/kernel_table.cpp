#include "kernel_table.h"

#include "instruction_set.h"

namespace fastrnn {

namespace generic {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512_bf16 {
extern const Passes<float> passes;
}
#endif

namespace {

const Kernels& choose() {
  const std::string& chosen = instruction_set();
#if defined(__x86_64__)
  static Kernels with_bfloat16 = avx512::kernels;
  with_bfloat16.name = "avx512_bf16", with_bfloat16.of_bfloat16 = avx512_bf16::passes;
  with_bfloat16.rows_of_bfloat16 = true;
  if (with_bfloat16.name == chosen) return with_bfloat16;
  for (const Kernels* set : {&avx2::kernels, &avx512::kernels})
    if (set->name == chosen) return *set;
#endif
  return generic::kernels;
}

// To whole cache lines.
int64_t padded(int64_t numbers, int64_t number_size) {
  const int64_t per_line = 64 / number_size;
  return (numbers + per_line - 1) / per_line * per_line;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

int64_t saved_width(const CellDescription& cell, int64_t hidden_size, const Saves& saves, int64_t number_size) {
  const int64_t slots = cell.saves + saves.projected + saves.zoneout_c + (saves.zoneout_h && cell.goes_back_from_h);
  return slots * padded(hidden_size, number_size);
}

int64_t checkpoint_width(const CellDescription& cell, int64_t hidden_size, int64_t number_size) {
  return cell.carries_c ? padded(hidden_size, number_size) : 0;
}

}  // namespace fastrnn
