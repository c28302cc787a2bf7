#include <cstdlib>
#include <string>

#include "instruction_set.h"
#include "int8.h"

namespace fastrnn {

namespace generic {
extern const Int8Products products_of_int8;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Int8Products products_of_int8;
}
namespace avx2_vnni {
extern const Int8Products products_of_int8;
}
namespace avx512 {
extern const Int8Products products_of_int8;
}
namespace avx512_vnni {
extern const Int8Products products_of_int8;
}
#endif

namespace {

const Int8Products& choose() {
#if defined(__x86_64__)
  const char* wanted = std::getenv("FASTRNN_VNNI");
  const bool allowed = !wanted || std::string(wanted) != "0";
  const std::string& set = set_of_float32();
  if (set == "avx512")
    return allowed && __builtin_cpu_supports("avx512vnni") ? avx512_vnni::products_of_int8 : avx512::products_of_int8;
  if (set == "avx2")
    return allowed && __builtin_cpu_supports("avxvnni") ? avx2_vnni::products_of_int8 : avx2::products_of_int8;
#endif
  return generic::products_of_int8;
}

}  // namespace

const Int8Products& int8_products() {
  static const Int8Products& chosen = choose();
  return chosen;
}

}  // namespace fastrnn
