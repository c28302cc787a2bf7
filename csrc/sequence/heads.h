// Heads: W_hh is block diagonal, and only its blocks are stored, one below the other. Rows and columns are cut into
// `count` heads of equal size, and the outputs of a head are multiplied by the numbers of that head alone.
#pragma once
#include <stdint.h>

namespace fastrnn {

// Everything here is always inlined: files of several instruction sets include it (see cpu/vec.h).
struct Heads {
  int64_t count, outputs, depth;  // the latter two of each head

  // The numbers of a row that outputs first … last are multiplied by are those of all their heads: begin(first) up to
  // end(last).
  [[gnu::always_inline]] constexpr int64_t begin(int64_t first) const { return first / outputs * depth; }
  [[gnu::always_inline]] constexpr int64_t end(int64_t last) const { return (last / outputs + 1) * depth; }
};

}  // namespace fastrnn
