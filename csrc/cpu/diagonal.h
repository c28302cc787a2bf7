// Products with a block-diagonal matrix, of which only the blocks are stored (../sequence/heads.h).
//
// Products go panel by panel, wherever heads begin. A panel reads a window of a row of A: all numbers of the heads that
// it has outputs of. Packed, an output has zeros where the window is another head's. So tiles, the cell after a panel
// and the rows of C are those of any matrix, whatever the size of a head; a matrix of one head is one window.
//
// A zero changes no bit of a sum, unless the other head has a number that is not finite; and a sum is cut into chains
// at places that depend on its own head alone. So it has the same bits whatever panel it falls into.
#pragma once
#include "../sequence/heads.h"
#include "matmul.h"

namespace fastrnn::FASTRNN_TARGET {

// Calls multiply(chain) for the chains of a window, both in units of `numbers` numbers. A head that is no longer than
// `longest` units is one chain, and so is a window of such heads.
template <class Multiply>
FASTRNN_INLINE void each_chain(const Heads& heads, int64_t numbers, Range window, int64_t longest, Multiply multiply) {
  const int64_t parts = divide_up(divide_up(heads.depth, numbers), longest);
  if (parts == 1) return multiply(window);
  int64_t part = window.begin * numbers / heads.depth * parts;
  auto cut = [&] { return (part / parts * heads.depth + part % parts * heads.depth / parts) / numbers; };
  for (int64_t from = cut(); from < window.end;) {
    ++part;
    const int64_t to = cut();
    const Range chain = {larger(from, window.begin), smaller(to, window.end)};
    if (chain.begin < chain.end) multiply(chain);
    from = to;
  }
}

template <class T>
class Diagonal {
  static constexpr int lanes = Vec<T>::lanes, numbers = Factors<T>::numbers;

 public:
  // A matrix (outputs, depth) of `count` blocks.
  Diagonal(int64_t count, int64_t outputs, int64_t depth)
      : heads{count, outputs / count, depth / count}, outputs(outputs), whole{0, factors_in<T>(depth)} {}

  FASTRNN_INLINE bool one_head() const { return heads.count == 1; }

  // Divides n vectors of outputs, from v on, into panels: at the ends of heads where heads are whole vectors.
  template <class Visit>
  FASTRNN_INLINE void each_panel(int64_t v, int n, Visit visit) const {
    if (one_head() || heads.outputs % lanes) return visit(v, n);
    const int64_t of_head = heads.outputs / lanes;
    for (const int64_t end = v + n; v < end; v += n) {
      n = int(smaller(end - v, of_head - v % of_head));
      visit(v, n);
    }
  }

  // The factors of a row that a panel reads.
  FASTRNN_INLINE Range window(int64_t v, int64_t n) const {
    if (one_head()) return whole;
    const int64_t last = smaller((v + n) * lanes, outputs) - 1;
    return {heads.begin(v * lanes) / numbers, factors_in<T>(heads.end(last))};
  }

  // Of any panel of up to n vectors, wherever it begins.
  int64_t longest_window(int n) const {
    if (one_head()) return whole.size();
    const int64_t vectors = divide_up(outputs, lanes);
    int64_t longest = 0;
    for (int64_t first = 0; first < vectors; ++first)
      each_panel(first, int(smaller(n, vectors - first)),
                 [&](int64_t v, int n) { longest = larger(longest, window(v, n).size()); });
    return longest;
  }

  // Divides n outputs, from `first` on, at the ends of heads: visit(first, n, number), with the first number of a row
  // that these are multiplied by.
  template <class Visit>
  FASTRNN_INLINE void each_head(int64_t first, int n, Visit visit) const {
    if (one_head()) return visit(first, n, 0);
    for (const int64_t end = first + n; first < end; first += n) {
      n = int(smaller(end - first, heads.outputs - first % heads.outputs));
      visit(first, n, heads.begin(first));
    }
  }

  // product() of a panel that has the factors of a window.
  FASTRNN_INLINE void times(const Panel<T>& panel, Range window, int64_t count, const Operands<T>& rows) const {
    if (one_head()) return product(panel, count, window.size(), rows);
    each_chain(heads, numbers, window, rows.chain, [&](Range chain) {
      Panel<T> part = panel;
      part.b += (chain.begin - window.begin) * panel.step;
      const T* const* init = rows.init;
      if (chain.begin > window.begin) init = rows.c;
      product(part, count, chain.size(),
              {rows.a, init, rows.c, rows.a_offset + chain.begin * rows.a_step, rows.a_step, chain.size()});
    });
  }

  // n rows of the matrix from output `first` on, stored from `from` on: each over the numbers of a window, zero where
  // those are of other heads. They are laid out in `room`.
  template <class Weight>
  const Weight* rows(const Weight* from, int64_t first, int n, Range window, void* room) const {
    Weight* const to = static_cast<Weight*>(room);
    const int64_t width = window.size() * numbers;
    memset(to, 0, n * width * sizeof(Weight));
    for (int64_t i = 0; i < n; ++i)
      memcpy(to + i * width + heads.begin(first + i) - window.begin * numbers, from + i * heads.depth,
             heads.depth * sizeof(Weight));
    return to;
  }

  // The same of a matrix that is stored transposed, (depth, outputs of a head) from `from` on: for each number of a
  // window a row of n outputs.
  template <class Weight>
  const Weight* columns(const Weight* from, int64_t first, int n, Range window, void* room) const {
    Weight* const to = static_cast<Weight*>(room);
    memset(to, 0, window.size() * numbers * n * sizeof(Weight));
    each_head(first, int(smaller(n, outputs - first)), [&](int64_t output, int of_head, int64_t number) {
      const Weight* row = from + number * heads.outputs + output % heads.outputs;
      Weight* place = to + (number - window.begin * numbers) * n + output - first;
      for (int64_t k = 0; k < heads.depth; ++k, row += heads.outputs, place += n)
        memcpy(place, row, of_head * sizeof(Weight));
    });
    return to;
  }

  const Heads heads;

 private:
  const int64_t outputs;
  const Range whole;
};

}  // namespace fastrnn::FASTRNN_TARGET
