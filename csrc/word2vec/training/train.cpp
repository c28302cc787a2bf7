#include "train.h"

#include "../../cpu/instruction_set.h"

namespace fastrnn {

namespace generic {
extern const word2vec::Train train_word2vec;
}
#if defined(__x86_64__)
namespace avx2 {
extern const word2vec::Train train_word2vec;
}
namespace avx512 {
extern const word2vec::Train train_word2vec;
}
#endif

namespace word2vec {

Loss train(const Training& training) {
#if defined(__x86_64__)
  const std::string& set = set_of_float32();
  if (set == "avx512") return avx512::train_word2vec(training);
  if (set == "avx2") return avx2::train_word2vec(training);
#endif
  return generic::train_word2vec(training);
}

}  // namespace word2vec
}  // namespace fastrnn
