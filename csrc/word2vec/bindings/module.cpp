// The module fastrnn.word2vec._C. It is not linked to torch, which word2vec can so do without.
#include "../../cpu/forked.h"
#include "bindings.h"

PYBIND11_MODULE(_C, m) {
  m.def("forked", fastrnn::forked, "whether this process is a child of fork");
  fastrnn::word2vec::bind_corpus(m);
  fastrnn::word2vec::bind_training(m);
  fastrnn::word2vec::bind_phrases(m);
}
