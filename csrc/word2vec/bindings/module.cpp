// The extension module fastrnn.word2vec._C. It is not linked to torch, so that Word2Vec works without torch.
#include "../../cpu/forked.h"
#include "bindings.h"

PYBIND11_MODULE(_C, m) {
  m.def("forked", fastrnn::forked, "whether this process is a child of fork");
  fastrnn::word2vec::bind_corpus(m);
  fastrnn::word2vec::bind_training(m);
  fastrnn::word2vec::bind_phrases(m);
}
