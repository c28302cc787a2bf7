#include "instruction_set.h"

#include <cstdlib>
#include <stdexcept>

namespace fastrnn {

namespace {

std::string choose() {
  std::string best = "generic", available = best;
  const char* forced = std::getenv("FASTRNN_ISA");
  bool found = forced && best == forced;
#if defined(__x86_64__)
  auto offer = [&](const char* set, bool supported) {
    if (!supported) return;
    best = set;
    available += ", " + best;
    found |= forced && best == forced;
  };
  offer("avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"));
  offer("avx512", __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"));
  offer("avx512_bf16", best == "avx512" && __builtin_cpu_supports("avx512bf16"));
#endif
  if (!forced || !*forced) return best;
  if (found) return forced;
  throw std::runtime_error(std::string("FASTRNN_ISA is '") + forced + "', but this processor offers: " + available);
}

}  // namespace

const std::string& instruction_set() {
  static const std::string chosen = choose();
  return chosen;
}

const std::string& set_of_float32() {
  static const std::string set = instruction_set() == "avx512_bf16" ? "avx512" : instruction_set();
  return set;
}

}  // namespace fastrnn
