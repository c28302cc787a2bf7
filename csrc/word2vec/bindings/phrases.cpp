// Bindings for phrases: Phrases, PhraseCounter and PhraseJoiner.
#include "../phrases/phrases.h"

#include <pybind11/stl.h>

#include <mutex>

#include "bindings.h"
#include "list_joiner.h"
#include "sentences.h"

namespace fastrnn::word2vec {

namespace py = pybind11;

namespace {

// Keeps the GIL, so that no list changes while threads read it.
void count_sentences(PhraseCounter& counter, const py::iterable& sentences) {
  const py::iterator iterator = py::iter(sentences);
  while (true) {
    const std::vector<py::object> next = next_sentences(iterator);
    if (next.empty()) return;
    counter.count(int64_t(next.size()), [&](PhraseReader& reader, int64_t i) {
      Utf8 utf8;
      for_each_word(next[i], utf8, [&](std::string_view word) { reader.word(word); });
      reader.end_sentence();
    });
  }
}

// Python threads read the phrases while they hold the GIL, or the lock when joining a text, so a change needs both. The
// lock is taken first, and only this function waits for the GIL while holding it.
void add(Phrases& phrases, PhraseCounter& counter) {
  py::gil_scoped_release unlocked;
  PhraseCounts counted = counter.finish();
  const std::unique_lock lock(phrases.changing);
  const py::gil_scoped_acquire locked;
  phrases.add(std::move(counted));
}

// A dict, because a new object per phrase would make the garbage collector traverse all lists of the corpus.
py::dict texts_and_scores(const Phrases& phrases) {
  py::dict scores;
  for (const auto& [text, score] : phrases.phrases()) scores[to_str(text)] = score;
  return scores;
}

py::tuple counts(const Phrases& phrases) {
  py::list texts, numbers;
  for (const PairCount& counted : phrases.counts()) {
    texts.append(to_str(phrases.text(counted)));
    numbers.append(counted.count);
  }
  return py::make_tuple(texts, numbers);
}

}  // namespace

void bind_phrases(py::module_& m) {
  py::class_<PhraseOptions>(m, "PhraseOptions")
      .def(py::init([](double min_count, double threshold, int64_t max_size, std::string delimiter, bool npmi,
                       std::vector<std::string> connectors) {
             if (delimiter.empty()) throw std::invalid_argument("delimiter must not be empty");
             if (max_size < 1) throw std::invalid_argument("max_size must be 1 or more");
             return PhraseOptions{min_count, threshold, max_size, std::move(delimiter), npmi, std::move(connectors)};
           }),
           py::arg("min_count"), py::arg("threshold"), py::arg("max_size"), py::arg("delimiter"), py::arg("npmi"),
           py::arg("connectors"));

  py::class_<PhraseCounter>(m, "PhraseCounter")
      .def(py::init<const PhraseOptions&, int>(), py::arg("options"), py::arg("threads"))
      .def("count",
           [](PhraseCounter& counter, const py::buffer& text, const std::vector<int64_t>& cuts) {
             const Text bytes(text);
             check_cuts(bytes.view, cuts);
             py::gil_scoped_release unlocked;
             counter.count(bytes.view, cuts);
           })
      .def("count_sentences", &count_sentences);

  py::class_<Phrases, std::shared_ptr<Phrases>>(m, "Phrases")
      .def(py::init<PhraseOptions>())
      .def("add", &add)
      .def("phrases", &texts_and_scores)
      .def("score",
           py::overload_cast<std::string_view, std::string_view, std::string_view>(&Phrases::score, py::const_))
      .def("counts", &counts)
      .def("restore", &Phrases::restore)
      .def_property_readonly("least", &Phrases::least)
      .def_property_readonly("size", &Phrases::size)
      .def_property_readonly("total_words", &Phrases::total_words);

  py::class_<ListJoiner>(m, "PhraseJoiner")
      .def(py::init<std::shared_ptr<Phrases>>())
      .def(py::init<std::string, const std::vector<std::string>&, const std::vector<std::string>&>(),
           py::arg("delimiter"), py::arg("connectors"), py::arg("phrases"))
      .def("join_sentence", &ListJoiner::join_sentence)
      .def("join_sentences", &ListJoiner::join_sentences)
      .def("phrases_of", &ListJoiner::phrases_of)
      .def("join_text", &ListJoiner::join_text);
}

}  // namespace fastrnn::word2vec
