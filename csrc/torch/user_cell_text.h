// A user's cell as the operators get it: a text, so that a program that torch exported has all that another process
// needs to run it. fastrnn/_cell/text.py writes it.
#pragma once
#include <string_view>
#include <vector>

#include "cell_library.h"
#include "checked_program.h"

namespace fastrnn {

// The programs of a cell, and how its rows lie: as in cells/cell_loop.h.
struct UserCell {
  int gates = 0, recurrent_gates = 0, vectors = 0, per_step = 0, saves = 0, matrices = 0;
  bool reads_h = false, reads_y = false;
  bool compiled = false;  // a library may run its programs: use_library
  std::vector<int> input_slots;
  std::vector<int> stored;
  struct Product {
    int matrix, left, right;
  };
  std::vector<Product> products;
  std::vector<double> begin;  // what each state begins with
  CheckedProgram inference, forward, backward;

  int states() const { return int(begin.size()); }
  // Of one direction, in the order w_ih, w_hh, b_ih, b_hh, vectors, matrices.
  int weights(bool biases) const { return (1 + biases) * (recurrent_gates ? 2 : 1) + vectors + matrices; }
  // What the backward program returns for matrices alone, after all other gradients.
  int factors() const { return backward.program().outputs - gates - states() - vectors - per_step; }
};

// A text is read once, and what it says is kept as long as the process lives: a few KiB for each cell that runs. Throws
// ValueError where a text says what no cell has, or does not say enough.
const UserCell& user_cell(std::string_view text);

// From now on the cell of a text that says `compiled` is run by this library, in the library's type of numbers. A
// process that does not call this, as one that loads an exported program, has the interpreter, and the same bits.
void use_library(std::string_view text, const CellLibrary& library);

// The names of operations in a text, in the order of Operation.
std::vector<std::string_view> operation_names();

}  // namespace fastrnn
