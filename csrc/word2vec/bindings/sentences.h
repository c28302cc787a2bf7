// Sentences from Python: iterables of lists of words.
#pragma once
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "strings.h"

namespace fastrnn::word2vec {

// A sentence as a list or tuple of words; the same object if it is one. A str is refused, because it would be a
// sentence of letters.
inline pybind11::object as_words(const pybind11::handle& sentence) {
  if (PyUnicode_Check(sentence.ptr()) || PyBytes_Check(sentence.ptr()))
    throw pybind11::type_error(std::string("a sentence must be a list of words, got ") +
                               Py_TYPE(sentence.ptr())->tp_name +
                               "; give an iterable of such lists, or use corpus_file for a text file");
  auto words = pybind11::reinterpret_steal<pybind11::object>(
      PySequence_Fast(sentence.ptr(), "a sentence must be a list of words"));
  if (!words) throw pybind11::error_already_set();
  return words;
}

// Calls use(std::string_view) for each word of a list or tuple.
template <class Use>
void for_each_word(const pybind11::handle& words, Utf8& utf8, Use&& use) {
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(words.ptr()); ++i)
    use(utf8(PySequence_Fast_GET_ITEM(words.ptr(), i)));
}

// The next sentence of an iterator, or null at its end. Also throws for Ctrl-C.
inline pybind11::object next_sentence(const pybind11::iterator& sentences) {
  auto sentence = pybind11::reinterpret_steal<pybind11::object>(PyIter_Next(sentences.ptr()));
  if (PyErr_Occurred() || PyErr_CheckSignals() < 0) throw pybind11::error_already_set();
  return sentence;
}

// Words read at once: enough to be worth starting threads, few enough to stay in the caches. Seconds to find and to
// join the phrases of enwiki8: 2^14: 1.4 and 1.4; 2^16: 1.1 and 1.2; 2^17: 1.2 and 1.3.
constexpr int64_t kWordsAtOnce = int64_t{1} << 16;

// The next sentences of an iterator, about kWordsAtOnce words; none at its end. Sentences are copied, because an
// iterator may change a list it returned when it is asked for the next one. A list's own iterator does not, so its
// sentences are not copied.
inline std::vector<pybind11::object> next_sentences(const pybind11::iterator& sentences) {
  const bool copy = !Py_IS_TYPE(sentences.ptr(), &PyListIter_Type);
  std::vector<pybind11::object> next;
  for (int64_t words = 0; words < kWordsAtOnce;) {
    const pybind11::object sentence = next_sentence(sentences);
    if (!sentence) break;
    pybind11::object list = as_words(sentence);
    if (copy && list.is(sentence)) list = pybind11::tuple(list);
    words += PySequence_Fast_GET_SIZE(list.ptr()) + 1;
    next.push_back(std::move(list));
  }
  return next;
}

}  // namespace fastrnn::word2vec
