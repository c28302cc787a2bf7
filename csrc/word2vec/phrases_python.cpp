// The module's part for phrases: Phrases and its Counter.
#include <pybind11/stl.h>

#include "phrases.h"
#include "python.h"
#include "python_text.h"

namespace fastrnn::word2vec {

namespace py = pybind11;

namespace {

void read(Joined& joined, const py::handle& sentence) {
  joined.clear();
  for_each_word(sentence, [&](std::string_view word) { joined.add(word); });
}

void count_sentences(Phrases::Counter& counter, const py::iterable& sentences) {
  Joined joined(counter.phrases().delimiter());
  for (const py::handle& sentence : sentences) {
    read(joined, sentence);
    counter.count(joined);
    if (PyErr_CheckSignals() < 0) throw py::error_already_set();
  }
}

py::list apply_sentence(const Phrases& phrases, const py::handle& sentence) {
  Joined joined(phrases.delimiter());
  read(joined, sentence);
  py::list words;
  phrases.apply(joined, [&](std::string_view word) { words.append(to_str(word)); });
  return words;
}

py::list apply_text(const Phrases& phrases, const py::buffer& text, const std::vector<int64_t>& cuts, int threads) {
  const Text bytes(text);
  std::vector<std::string> parts;
  {
    py::gil_scoped_release unlocked;
    parts = phrases.apply(bytes.view, cuts, threads);
  }
  py::list all;
  for (const std::string& part : parts) all.append(py::bytes(part));
  return all;
}

py::tuple counts(const Phrases& phrases) {
  py::list words, numbers;
  for (const Entry* entry : phrases.counts().entries()) {
    words.append(to_str(entry->text()));
    numbers.append(entry->count);
  }
  return py::make_tuple(words, numbers);
}

}  // namespace

void bind_phrases(py::module_& m) {
  py::class_<Phrases> phrases(m, "Phrases");
  py::class_<Phrases::Counter>(phrases, "Counter")
      .def(py::init<const Phrases&, int>(), py::keep_alive<1, 2>())
      .def("count",
           [](Phrases::Counter& counter, const py::buffer& text, const std::vector<int64_t>& cuts) {
             const Text bytes(text);
             py::gil_scoped_release unlocked;
             counter.count(bytes.view, cuts);
           })
      .def("count_sentences", &count_sentences)
      .def("is_too_large", &Phrases::Counter::is_too_large, py::call_guard<py::gil_scoped_release>());
  phrases
      .def(py::init<double, double, int64_t, std::string, bool, std::vector<std::string>>(), py::arg("min_count"),
           py::arg("threshold"), py::arg("max_size"), py::arg("delimiter"), py::arg("npmi"), py::arg("connectors"))
      .def("add", &Phrases::add, py::call_guard<py::gil_scoped_release>())
      .def("apply_sentence", &apply_sentence)
      .def("apply_text", &apply_text)
      .def("phrases", &Phrases::phrases)
      .def("counts", &counts)
      .def("restore", &Phrases::restore)
      .def_property_readonly("least", &Phrases::least)
      .def_property_readonly("size", [](const Phrases& self) { return self.counts().size(); })
      .def_property_readonly("total_words", &Phrases::total_words);
}

}  // namespace fastrnn::word2vec
