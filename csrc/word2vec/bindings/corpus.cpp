// Bindings for corpora: cut, WordCounter, WordEncoder.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>

#include "../corpus/vocabulary.h"
#include "bindings.h"
#include "sentences.h"

namespace fastrnn::word2vec {

namespace py = pybind11;

namespace {

template <class T>
py::array_t<T> array(const std::vector<T>& numbers) {
  return py::array_t<T>(py::ssize_t(numbers.size()), numbers.data());
}

// The words that occur min_count times or more, in order of first appearance, and their counts.
py::tuple finish(WordCounter& counter, int64_t min_count) {
  std::vector<const Entry*> entries;
  {
    py::gil_scoped_release unlocked;
    entries = counter.finish().entries();
    std::erase_if(entries, [=](const Entry* entry) { return entry->count < min_count; });
  }
  py::list words(entries.size());
  py::array_t<int64_t> counts(py::ssize_t(entries.size()));
  for (size_t i = 0; i < entries.size(); ++i) {
    words[i] = to_str(entries[i]->text());
    counts.mutable_data()[i] = entries[i]->count;
  }
  return py::make_tuple(words, counts);
}

py::list encode_text(const WordEncoder& encoder, const py::buffer& text, const std::vector<int64_t>& cuts,
                     int threads) {
  const Text bytes(text);
  check_cuts(bytes.view, cuts);
  std::vector<Ids> parts;
  {
    py::gil_scoped_release unlocked;
    parts = encoder.encode(bytes.view, cuts, threads);
  }
  py::list arrays;
  for (Ids& part : parts) {
    arrays.append(py::make_tuple(array(part.ids), array(part.lengths)));
    part = {};
  }
  return arrays;
}

// The iterator's next sentences, about max_words words; None if there are no more. Lists of words longer than a
// sentence are split.
py::object encode_sentences(const WordEncoder& encoder, const py::iterator& sentences, int64_t max_words) {
  Ids part;
  Utf8 utf8;
  int64_t before = 0, all_words = 0;
  while (all_words < max_words) {
    const py::object sentence = next_sentence(sentences);
    if (!sentence) break;
    int64_t words = 0;
    auto finish = [&] {
      part.lengths.push_back(int64_t(part.ids.size()) - before);
      before = int64_t(part.ids.size());
    };
    for_each_word(as_words(sentence), utf8, [&](std::string_view word) {
      if (word.empty()) return;
      if (words > 0 && words % kWordsPerSentence == 0) finish();
      const int32_t id = encoder.id(word);
      if (id >= 0) part.ids.push_back(id);
      ++words;
    });
    utf8.clear();
    if (words > 0) finish();
    all_words += words + 1;
  }
  if (all_words == 0) return py::none();
  return py::make_tuple(array(part.ids), array(part.lengths));
}

void count_sentences(WordCounter& counter, const py::iterable& sentences) {
  Utf8 utf8;
  const py::iterator iterator = py::iter(sentences);
  while (const py::object sentence = next_sentence(iterator)) {
    for_each_word(as_words(sentence), utf8, [&](std::string_view word) {
      if (!word.empty()) counter.count_word(word);
    });
    utf8.clear();
    counter.end_sentence();
  }
}

// Raises Python's own error for a str that cannot be encoded as UTF-8.
void raise_as_python_does(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const HalfSurrogatePair& error) {
    const auto word = py::reinterpret_steal<py::object>(
        PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, error.word.data(), py::ssize_t(error.word.size())));
    if (word) py::reinterpret_steal<py::object>(PyUnicode_AsUTF8String(word.ptr()));
  }
}

}  // namespace

void bind_corpus(py::module_& m) {
  py::register_local_exception_translator(&raise_as_python_does);
  m.attr("WORDS_PER_SENTENCE") = kWordsPerSentence;
  m.attr("LONGEST_WORD") = kLongestWord;
  m.def(
      "cut",
      [](const py::buffer& text, bool is_last, int64_t piece_size) {
        const Text bytes(text);
        if (piece_size < 1) throw std::invalid_argument("piece_size must be 1 or more");
        py::gil_scoped_release unlocked;
        return cut(bytes.view, is_last, piece_size);
      },
      "positions where a text can be cut between sentences", py::arg("text"), py::arg("is_last"),
      py::arg("piece_size"));

  py::class_<WordCounter>(m, "WordCounter")
      .def(py::init<int, int64_t>(), py::arg("threads"), py::arg("max_size"))
      .def("count",
           [](WordCounter& counter, const py::buffer& text, const std::vector<int64_t>& cuts) {
             const Text bytes(text);
             check_cuts(bytes.view, cuts);
             py::gil_scoped_release unlocked;
             counter.count(bytes.view, cuts);
           })
      .def("count_sentences", &count_sentences)
      .def("finish", &finish)
      .def_property_readonly("is_too_large", &WordCounter::is_too_large)
      .def_property_readonly("total_words", &WordCounter::total_words)
      .def_property_readonly("sentences", &WordCounter::sentences);

  py::class_<WordEncoder>(m, "WordEncoder")
      .def(py::init([](const py::list& keys) {
        auto encoder = std::make_unique<WordEncoder>();
        Utf8 utf8;
        for_each_word(keys, utf8, [&](std::string_view key) { encoder->add_key(key); });
        return encoder;
      }))
      .def("encode", &encode_text)
      .def("encode_sentences", &encode_sentences);
}

}  // namespace fastrnn::word2vec
