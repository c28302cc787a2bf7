#include "interpreter_table.h"

#include "instruction_set.h"

namespace fastrnn {

namespace generic {
extern const Interpreter interpreter;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Interpreter interpreter;
}
namespace avx512 {
extern const Interpreter interpreter;
}
#endif

const Interpreter& interpreter() {
#if defined(__x86_64__)
  if (set_of_float32() == "avx512") return avx512::interpreter;
  if (set_of_float32() == "avx2") return avx2::interpreter;
#endif
  return generic::interpreter;
}

}  // namespace fastrnn
