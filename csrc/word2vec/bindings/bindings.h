// The parts of the extension module fastrnn.word2vec._C.
#pragma once
#include <pybind11/pybind11.h>

namespace fastrnn::word2vec {

void bind_corpus(pybind11::module_& m);
void bind_training(pybind11::module_& m);
void bind_phrases(pybind11::module_& m);

}  // namespace fastrnn::word2vec
