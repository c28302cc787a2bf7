// The module's part for phrases: Phrases, PhraseCounter and PhraseJoiner.
#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "phrases.h"
#include "phrases_joiner.h"
#include "python.h"
#include "python_text.h"

namespace fastrnn::word2vec {

namespace py = pybind11;

namespace {

void count_sentences(PhraseCounter& counter, const py::iterable& sentences) {
  for (const py::handle& sentence : sentences) {
    const py::object words = as_words(sentence);  // which are read at the end at the latest
    for_each_word(words, [&](std::string_view word) { counter.word(word); });
    counter.end_sentence();
    if (PyErr_CheckSignals() < 0) throw py::error_already_set();
  }
}

// A PhraseJoiner for Python's lists: a word stays the same object, and each phrase is one object, made when first met.
class ListJoiner {
 public:
  explicit ListJoiner(std::shared_ptr<const Phrases> phrases)
      : joiner_(phrases->options().delimiter, phrases->options().connectors,
                [phrases](auto first, auto last, auto joined) {
                  return !std::isnan(phrases->score(first, last, joined));
                }) {
    for (const Phrases::Candidate& candidate : phrases->candidates())
      joiner_.add(phrases->text(candidate.pair), candidate.certain);
  }
  ListJoiner(std::string delimiter, const std::vector<std::string>& connectors, const std::vector<std::string>& phrases)
      : joiner_(std::move(delimiter), connectors, nullptr) {
    for (const std::string& phrase : phrases) joiner_.add(phrase, true);
  }

  py::list join_sentence(const py::handle& sentence) {
    const py::object words = read(sentence);
    PyObject** const items = PySequence_Fast_ITEMS(words.ptr());
    joined_.clear();
    joiner_.join(sentence_, scratch_, [&](int64_t first, int64_t last, int64_t phrase) {
      joined_.push_back(phrase < 0 ? items[first] : this->phrase(first, last, phrase));
    });
    py::list joined(joined_.size());
    for (size_t i = 0; i < joined_.size(); ++i) PyList_SET_ITEM(joined.ptr(), i, Py_NewRef(joined_[i]));
    return joined;
  }

  // Of each phrase of a sentence, its first and its last word and its text.
  std::vector<std::array<py::str, 3>> phrases_of(const py::handle& sentence) {
    const py::object words = read(sentence);
    std::vector<std::array<py::str, 3>> found;
    joiner_.join(sentence_, scratch_, [&](int64_t first, int64_t last, int64_t phrase) {
      if (phrase < 0) return;
      const py::handle joined = this->phrase(first, last, phrase);
      found.push_back(
          {to_str(sentence_[first].text), to_str(sentence_[last].text), py::reinterpret_borrow<py::str>(joined)});
    });
    return found;
  }

  py::list join_text(const py::buffer& text, const std::vector<int64_t>& cuts, int threads) const {
    const Text bytes(text);
    std::vector<std::string> parts;
    {
      py::gil_scoped_release unlocked;
      parts = joiner_.join(bytes.view, cuts, threads);
    }
    py::list all;
    for (const std::string& part : parts) all.append(py::bytes(part));
    return all;
  }

 private:
  // The words, which must live as long as sentence_ is used.
  py::object read(const py::handle& sentence) {
    py::object words = as_words(sentence);
    sentence_.clear();
    for_each_word(words, [&](std::string_view word) { sentence_.push_back(PhraseJoiner::word(word)); });
    return words;
  }

  PyObject* phrase(int64_t first, int64_t last, int64_t number) {
    if (size_t(number) >= phrases_.size()) phrases_.resize(number + 1);
    if (!phrases_[number]) {
      scratch_ = sentence_[first].text;
      while (first < last) (scratch_ += joiner_.delimiter()) += sentence_[++first].text;
      phrases_[number] = to_str(scratch_);
    }
    return phrases_[number].ptr();
  }

  PhraseJoiner joiner_;
  std::vector<py::object> phrases_;  // by their numbers
  std::vector<PhraseJoiner::Word> sentence_;
  std::vector<PyObject*> joined_;  // borrowed
  std::string scratch_;
};

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
             return PhraseOptions{min_count, threshold, max_size, std::move(delimiter), npmi, std::move(connectors)};
           }),
           py::arg("min_count"), py::arg("threshold"), py::arg("max_size"), py::arg("delimiter"), py::arg("npmi"),
           py::arg("connectors"));

  py::class_<PhraseCounter>(m, "PhraseCounter")
      .def(py::init<const PhraseOptions&, int>(), py::arg("options"), py::arg("threads"))
      .def("count",
           [](PhraseCounter& counter, const py::buffer& text, const std::vector<int64_t>& cuts) {
             const Text bytes(text);
             py::gil_scoped_release unlocked;
             counter.count(bytes.view, cuts);
           })
      .def("count_sentences", &count_sentences);

  py::class_<Phrases, std::shared_ptr<Phrases>>(m, "Phrases")
      .def(py::init<PhraseOptions>())
      .def(
          "add", [](Phrases& phrases, PhraseCounter& counter) { phrases.add(counter.finish()); },
          py::call_guard<py::gil_scoped_release>())
      .def("phrases", &Phrases::phrases)
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
      .def("phrases_of", &ListJoiner::phrases_of)
      .def("join_text", &ListJoiner::join_text);
}

}  // namespace fastrnn::word2vec
