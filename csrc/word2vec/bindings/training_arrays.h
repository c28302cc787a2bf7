// Checks of the arrays for training, because the kernel uses raw pointers into them.
#pragma once
#include <pybind11/numpy.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "../training/train.h"

namespace fastrnn::word2vec {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

[[noreturn]] inline void refuse(const std::string& why) { throw std::invalid_argument(why); }

inline void require(bool right, const std::string& otherwise) {
  if (!right) refuse(otherwise);
}

inline std::string shape_of(const py::array& array) {
  std::string shape;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) shape += (i ? ", " : "") + std::to_string(array.shape(i));
  return "[" + shape + "]";
}

template <class T>
void require_size(const char* name, const Array<T>& array, int64_t size) {
  require(array.ndim() == 1 && array.size() == size,
          std::string(name) + " must have shape [" + std::to_string(size) + "], got " + shape_of(array));
}

// Checks for non-decreasing offsets from 0 to at most `most`.
inline void require_offsets(const char* name, const Array<int64_t>& offsets, int64_t most) {
  require(offsets.ndim() == 1 && offsets.size() > 0, std::string(name) + " must be a non-empty vector");
  int64_t before = 0;
  for (py::ssize_t i = 0; i < offsets.size(); ++i) {
    const int64_t now = offsets.data()[i];
    if (now < before || now > most)
      refuse(std::string(name) + "[" + std::to_string(i) + "] must be from " + std::to_string(before) + " to " +
             std::to_string(most) + ", got " + std::to_string(now));
    before = now;
  }
}

// Checks a matrix that is trained and returns its data.
inline float* trained(const char* name, Array<float>& matrix, int64_t rows, int64_t width) {
  require(matrix.ndim() == 2 && matrix.shape(0) == rows && matrix.shape(1) == width,
          std::string(name) + " must have shape [" + std::to_string(rows) + ", " + std::to_string(width) + "], got " +
              shape_of(matrix));
  require(matrix.writeable(), std::string(name) + " must be writable");
  return matrix.mutable_data();
}

// The table of Walker's alias method: (words, 2).
inline const Alias* alias_table(const Array<uint32_t>& table, int64_t words) {
  require(table.ndim() == 2 && table.shape(0) == words && table.shape(1) == 2,
          "alias must have shape [" + std::to_string(words) + ", 2], got " + shape_of(table));
  const Alias* alias = reinterpret_cast<const Alias*>(table.data());
  for (int64_t word = 0; word < words; ++word)
    if (alias[word].other >= words)
      refuse("alias[" + std::to_string(word) + ", 1] must be less than the number of words, " + std::to_string(words) +
             ", got " + std::to_string(alias[word].other));
  return alias;
}

// The paths of hierarchical softmax: for each word the inner nodes on its path, which are rows of syn1.
struct Paths {
  Array<int64_t> offsets;
  Array<int32_t> nodes;
  Array<uint8_t> codes;

  void give_to(Training& t, int64_t inner_nodes) const {
    require_size("the offsets of paths", offsets, t.words + 1);
    require_offsets("the offsets of paths", offsets, nodes.size());
    require_size("the codes of paths", codes, nodes.size());
    for (py::ssize_t i = 0; i < nodes.size(); ++i)
      if (nodes.data()[i] < 0 || nodes.data()[i] >= inner_nodes)
        refuse("the nodes of paths must be from 0 to " + std::to_string(inner_nodes - 1) + ", got " +
               std::to_string(nodes.data()[i]));
    t.path_offsets = offsets.data();
    t.path_nodes = nodes.data();
    t.path_codes = codes.data();
    for (int64_t w = 0; w < t.words; ++w) {
      const int64_t length = t.path_offsets[w + 1] - t.path_offsets[w];
      if (length > t.words)
        refuse("a path must not be longer than the number of words, " + std::to_string(t.words) + ", got length " +
               std::to_string(length));
      if (length > t.longest_path) t.longest_path = int(length);
    }
  }
};

}  // namespace fastrnn::word2vec
