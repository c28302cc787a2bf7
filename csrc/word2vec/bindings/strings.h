// Python's bytes and str as std::string_view.
#pragma once
#include <pybind11/pybind11.h>

#include <list>
#include <string>
#include <string_view>

namespace fastrnn::word2vec {

// The memory of an object with the buffer protocol (bytes, mmap, memoryview), valid as long as this object lives.
struct Text {
  explicit Text(const pybind11::buffer& object) : info(object.request()) {
    view = {static_cast<const char*>(info.ptr), size_t(info.size * info.itemsize)};
  }
  pybind11::buffer_info info;
  std::string_view view;
};

inline pybind11::str to_str(std::string_view text) { return pybind11::str(text.data(), text.size()); }

// A str that cannot be encoded as UTF-8; bind_corpus turns it into Python's UnicodeEncodeError.
struct HalfSurrogatePair {
  std::u32string word;
};

// The UTF-8 encoding of strs. It does not call Python, so threads without the GIL can use it on objects that cannot
// change: a str never does, and a list does not while the thread that waits for them holds the GIL.
class Utf8 {
 public:
  // Valid as long as the str lives, and until clear(). Throws TypeError for other objects, and HalfSurrogatePair.
  std::string_view operator()(PyObject* word) {
    if (!PyUnicode_Check(word))
      throw pybind11::type_error(std::string("a word must be a str, got ") + Py_TYPE(word)->tp_name +
                                 "; convert it, for example with str(word)");
    if (PyUnicode_IS_COMPACT_ASCII(word))  // most words
      return {static_cast<const char*>(PyUnicode_DATA(word)), size_t(PyUnicode_GET_LENGTH(word))};
    return encode(word);
  }
  void clear() { encoded_.clear(); }

 private:
  std::string_view encode(PyObject* word) {
    const void* characters = PyUnicode_DATA(word);
    std::string& text = encoded_.emplace_back();
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(word); ++i) {
      const uint32_t c = PyUnicode_READ(PyUnicode_KIND(word), characters, i);
      if (c >= 0xD800 && c < 0xE000) throw half_surrogate_pair(word);
      auto add = [&](uint32_t bits) { text += static_cast<char>(bits); };
      auto add_last = [&](int from) { add(0x80 | (c >> from & 0x3F)); };
      if (c < 0x80) {
        add(c);
        continue;
      }
      add(c < 0x800 ? 0xC0 | c >> 6 : c < 0x10000 ? 0xE0 | c >> 12 : 0xF0 | c >> 18);
      if (c >= 0x10000) add_last(12);
      if (c >= 0x800) add_last(6);
      add_last(0);
    }
    return text;
  }
  static HalfSurrogatePair half_surrogate_pair(PyObject* word) {
    HalfSurrogatePair error;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(word); ++i) error.word += char32_t(PyUnicode_READ_CHAR(word, i));
    return error;
  }

  std::list<std::string> encoded_;
};

}  // namespace fastrnn::word2vec
