#include "python.h"

namespace fastrnn::word2vec {

void bind_corpus(pybind11::module_& m) { (void)m; }

}  // namespace fastrnn::word2vec
