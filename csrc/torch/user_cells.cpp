#include "user_cells.h"

#include <pybind11/stl.h>

#include <string>

#include "../cells/cell_loop.h"
#include "user_cell_text.h"

namespace py = pybind11;

namespace fastrnn {

namespace {

// What the shapes of the operators' results follow from.
py::dict described(const std::string& text) {
  const UserCell& cell = user_cell(text);
  py::dict found;
  found["input_gates"] = cell.input_slots.size();
  found["recurrent_gates"] = cell.recurrent_gates;
  found["vectors"] = cell.vectors;
  found["matrices"] = cell.matrices;
  std::vector<int> products;
  for (const UserCell::Product& product : cell.products) products.push_back(product.matrix);
  found["products"] = products;
  found["states"] = cell.states();
  found["saves"] = cell.saves;
  found["stored"] = cell.stored;
  return found;
}

py::dict limits() {
  py::dict most;
  most["gates"] = most_gates;
  most["states"] = most_states;
  most["vectors"] = most_numbers;
  most["numbers per step"] = most_numbers;
  most["matrices"] = most_matrices;
  most["products with matrices"] = most_products;
  most["places"] = most_places;
  return most;
}

}  // namespace

void add_user_cells(py::module_& m) {
  m.def("user_cell", described, "what the text of a user's cell says of its sizes (csrc/torch/user_cell_text.h)");
  m.def("use_library", use_library, "the cell of a text is run by a library (csrc/torch/user_cell_text.h)");
  m.def("user_cell_limits", limits, "how many of each a cell has at most that the kernels run");
  m.def("user_cell_operations", operation_names, "the names of operations, in the order of their numbers");
}

}  // namespace fastrnn
