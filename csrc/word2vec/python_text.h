// Python's bytes and str as std::string_view.
#pragma once
#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

namespace fastrnn::word2vec {

// The memory of an object with the buffer protocol, for as long as this lives: bytes, an mmap, a memoryview.
struct Text {
  explicit Text(const pybind11::buffer& object) : info(object.request()) {
    view = {static_cast<const char*>(info.ptr), size_t(info.size * info.itemsize)};
  }
  pybind11::buffer_info info;
  std::string_view view;
};

inline pybind11::str to_str(std::string_view text) { return pybind11::str(text.data(), text.size()); }

// The UTF-8 of a str, which must outlive it. Throws TypeError for anything else, UnicodeEncodeError for half a
// surrogate pair.
inline std::string_view utf8(const pybind11::handle& word) {
  if (!PyUnicode_Check(word.ptr()))
    throw pybind11::type_error(std::string("a word must be a str, got ") + Py_TYPE(word.ptr())->tp_name);
  if (PyUnicode_IS_COMPACT_ASCII(word.ptr()))  // most words; Python's own function is a call for each
    return {static_cast<const char*>(PyUnicode_DATA(word.ptr())), size_t(PyUnicode_GET_LENGTH(word.ptr()))};
  Py_ssize_t size;
  const char* text = PyUnicode_AsUTF8AndSize(word.ptr(), &size);
  if (!text) throw pybind11::error_already_set();
  return {text, size_t(size)};
}

// A sentence's words as a list or tuple, itself if it is one. A str cannot be meant, for it would be a sentence of
// letters.
inline pybind11::object as_words(const pybind11::handle& sentence) {
  if (PyUnicode_Check(sentence.ptr()) || PyBytes_Check(sentence.ptr()))
    throw pybind11::type_error(std::string("a sentence must be a list of words, got ") +
                               Py_TYPE(sentence.ptr())->tp_name +
                               ": a corpus is an iterable of sentences, or give corpus_file");
  auto words = pybind11::reinterpret_steal<pybind11::object>(
      PySequence_Fast(sentence.ptr(), "a sentence must be a list of words"));
  if (!words) throw pybind11::error_already_set();
  return words;
}

// Calls use(std::string_view) for each word of a list, or of anything else that can be iterated over.
template <class Use>
void for_each_word(const pybind11::handle& sentence, Use&& use) {
  const pybind11::object words = as_words(sentence);
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(words.ptr()); ++i)
    use(utf8(PySequence_Fast_GET_ITEM(words.ptr(), i)));
}

}  // namespace fastrnn::word2vec
