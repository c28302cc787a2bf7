#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "../cells/gru.h"
#include "../cells/lstm.h"

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
#endif

namespace {

const Kernels& choose() {
  const Kernels* best = &generic::kernels;
  std::string available = "generic";
  const char* forced = std::getenv("FASTRNN_ISA");
  const Kernels* found = forced && available == forced ? best : nullptr;
#if defined(__x86_64__)
  auto offer = [&](const Kernels& set, bool supported) {
    if (!supported) return;
    best = &set;
    available += std::string(", ") + set.name;
    if (forced && std::string(set.name) == forced) found = &set;
  };
  offer(avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  offer(avx512::kernels, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"));
#endif
  if (!forced || !*forced) return *best;
  if (found) return *found;
  throw std::runtime_error(std::string("FASTRNN_ISA is '") + forced + "', but this processor offers: " + available);
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

int64_t saved_width(CellKind cell, int64_t hidden_size, bool projected, int64_t number_size) {
  const int64_t width = padded(hidden_size, number_size);
  switch (cell) {
    case CellKind::lstm:
      return (LSTM::saves + projected) * width;
    case CellKind::gru:
      return GRU::saves * width;
    case CellKind::gru_reset_before:
      return GRUResetBefore::saves * width;
    default:
      return 0;
  }
}

int64_t checkpoint_width(CellKind cell, int64_t hidden_size, int64_t number_size) {
  return cell == CellKind::lstm ? padded(hidden_size, number_size) : 0;
}

}  // namespace fastrnn
