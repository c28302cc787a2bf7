#include "user_cell_text.h"

#include <c10/util/Exception.h>

#include <charconv>
#include <iterator>
#include <limits>
#include <locale>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>

#include "../cells/cell_loop.h"

namespace fastrnn {

namespace {

// In the order of Operation. Names, because programs that were exported earlier must still load when operations are
// added between others.
constexpr std::string_view names[] = {"copy",
                                      "neg",
                                      "exp",
                                      "log",
                                      "log1p",
                                      "sqrt",
                                      "abs",
                                      "sign",
                                      "sigmoid",
                                      "tanh",
                                      "relu",
                                      "softplus",
                                      "logsigmoid",
                                      "normal_cdf",
                                      "normal_density",
                                      "sin",
                                      "cos",
                                      "not",
                                      "power",
                                      "clamp",
                                      "add",
                                      "sub",
                                      "mul",
                                      "div",
                                      "maximum",
                                      "minimum",
                                      "lt",
                                      "le",
                                      "eq",
                                      "and",
                                      "or",
                                      "where",
                                      "multiply_add",
                                      "multiply_sub",
                                      "sub_multiplied",
                                      "mean",
                                      "mean_of_product",
                                      "matrix_product"};
static_assert(std::size(names) == size_t(Operation::count), "a name for each operation");

int32_t operation_named(std::string_view name) {
  for (size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name) return int32_t(i);
  TORCH_CHECK_VALUE(false, "Expected an operation that this version of fastrnn has, got '", name, "'");
}

// The words of a text, one after the other.
class Words {
 public:
  explicit Words(std::string_view text) : rest(text) {}

  bool more() {
    rest.remove_prefix(std::min(rest.find_first_not_of(" \n"), rest.size()));
    return !rest.empty();
  }
  std::string_view word() {
    TORCH_CHECK_VALUE(more(), "Expected the text of a cell, got one that ends too early");
    const std::string_view found = rest.substr(0, rest.find_first_of(" \n"));
    rest.remove_prefix(found.size());
    return found;
  }
  int32_t integer() {
    const std::string_view text = word();
    int32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size(), "Expected an integer, got '", text,
                      "'");
    return value;
  }
  double number() {
    const std::string text(word());
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (text == "inf" || text == "-inf") return text[0] == '-' ? -infinity : infinity;
    if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    double value = 0;
    stream >> value;
    TORCH_CHECK_VALUE(!stream.fail() && stream.eof(), "Expected a number, got '", text, "'");
    return value;
  }
  // How many there are, and these.
  template <class Each>
  auto list(Each each) {
    std::vector<decltype(each())> found;
    for (int32_t n = integer(); n > 0; --n) found.push_back(each());
    return found;
  }

 private:
  std::string_view rest;
};

CheckedProgram program(Words& words) {
  const int32_t inputs = words.integer(), outputs = words.integer(), temporaries = words.integer();
  const int32_t rows = words.integer(), numbers = words.integer();
  const auto cuts = words.list([&] {
    const int32_t units_end = words.integer(), numbers_end = words.integer();
    return std::pair<int64_t, int64_t>(units_end, numbers_end);
  });
  const auto instructions = words.list([&] {
    const int32_t operation = operation_named(words.word());
    const int32_t to = words.integer(), a = words.integer(), b = words.integer(), c = words.integer();
    const double k = words.number(), l = words.number();
    return CheckedProgram::Given(operation, to, a, b, c, k, l);
  });
  try {
    return {instructions, inputs, outputs, temporaries, rows, numbers, cuts};
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK_VALUE(false, "Expected the program of a cell, but ", error.what());
  }
}

void check(const CheckedProgram& p, int inputs, int outputs) {
  TORCH_CHECK_VALUE(p.program().inputs == inputs && p.program().outputs == outputs, "Expected a program of ", inputs,
                    " inputs and ", outputs, " outputs, got ", p.program().inputs, " and ", p.program().outputs);
}

// What the loop relies on.
void check(const UserCell& cell) {
  TORCH_CHECK_VALUE(cell.states() > 0 && !cell.input_slots.empty(), "Expected a cell with a state and a gate");
  TORCH_CHECK_VALUE(
      cell.gates <= most_gates && int(cell.input_slots.size()) <= cell.gates && cell.recurrent_gates >= 0 &&
          cell.recurrent_gates <= cell.gates && cell.states() <= most_states && cell.vectors >= 0 &&
          cell.vectors <= most_numbers && cell.per_step >= 0 && cell.per_step <= most_numbers && cell.saves >= 0 &&
          cell.matrices >= 0 && cell.matrices <= most_matrices && cell.products.size() <= most_products,
      "Expected at most ", most_gates, " gates, ", most_states, " states, ", most_numbers, " vectors, ", most_numbers,
      " numbers per step, ", most_matrices, " matrices and ", most_products, " products with them");
  for (int slot : cell.input_slots)
    TORCH_CHECK_VALUE(slot >= 0 && slot < cell.gates, "Expected a gate from 0 to ", cell.gates - 1, ", got ", slot);
  TORCH_CHECK_VALUE(int(cell.stored.size()) < cell.states(), "Expected no state to be stored twice");
  for (int k : cell.stored)
    TORCH_CHECK_VALUE(k > 0 && k < cell.states(), "Expected a state from 1 to ", cell.states() - 1, ", got ", k);
  const int of_step = cell.gates + cell.states() + cell.vectors + cell.per_step;
  check(cell.inference, of_step, cell.states());
  check(cell.forward, of_step, cell.states() + cell.saves);
  const int read = cell.saves + cell.reads_h + cell.reads_y + 2 * int(cell.stored.size());
  const int factors = cell.factors();
  TORCH_CHECK_VALUE(factors >= 0 && factors <= 2 * int(cell.products.size()), "Expected a program of ", of_step,
                    " outputs and at most two for each product with a matrix, got ", of_step + factors);
  check(cell.backward, read + cell.vectors + cell.per_step + cell.states(), of_step + factors);
  const int slots = cell.gates + cell.vectors + factors;
  for (const UserCell::Product& product : cell.products)
    TORCH_CHECK_VALUE(product.matrix >= 0 && product.matrix < cell.matrices && product.left >= 0 &&
                          product.left < slots && product.right >= 0 && product.right < slots,
                      "Expected products with matrices 0 to ", cell.matrices - 1, " of rows 0 to ", slots - 1, ", got ",
                      product.matrix, " of ", product.left, " and ", product.right);
  for (const CheckedProgram* of : {&cell.inference, &cell.forward, &cell.backward})
    TORCH_CHECK_VALUE(of->matrices() <= cell.matrices, "Expected a program with ", cell.matrices, " matrices, got ",
                      of->matrices());
}

UserCell read(std::string_view text) {
  UserCell cell;
  Words words(text);
  const auto integer = [&] { return words.integer(); };
  while (words.more()) {
    const std::string_view what = words.word();
    if (what == "gates")
      cell.gates = integer();
    else if (what == "recurrent_gates")
      cell.recurrent_gates = integer();
    else if (what == "vectors")
      cell.vectors = integer();
    else if (what == "per_step")
      cell.per_step = integer();
    else if (what == "matrices")
      cell.matrices = integer();
    else if (what == "products")
      cell.products = words.list([&] {
        const int matrix = integer(), left = integer(), right = integer();
        return UserCell::Product{matrix, left, right};
      });
    else if (what == "saves")
      cell.saves = integer();
    else if (what == "reads_h")
      cell.reads_h = integer();
    else if (what == "reads_y")
      cell.reads_y = integer();
    else if (what == "compiled")
      cell.compiled = integer();
    else if (what == "input_slots")
      cell.input_slots = words.list(integer);
    else if (what == "stored")
      cell.stored = words.list(integer);
    else if (what == "begin")
      cell.begin = words.list([&] { return words.number(); });
    else if (what == "inference")
      cell.inference = program(words);
    else if (what == "forward")
      cell.forward = program(words);
    else if (what == "backward")
      cell.backward = program(words);
    else
      TORCH_CHECK_VALUE(false, "Expected the text of a cell of this version of fastrnn, got one with '", what, "'");
  }
  check(cell);
  return cell;
}

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

// The cells of all texts, as long as the process lives. Calls keep references to them, so one that a library replaces
// is kept, too.
class KnownCells {
 public:
  const UserCell& of(std::string_view text) {
    const std::lock_guard lock(mutex);
    return *kept(text);
  }

  void use(std::string_view text, const CellLibrary& library) {
    const std::lock_guard lock(mutex);
    std::unique_ptr<const UserCell>& cell = kept(text);
    TORCH_CHECK_VALUE(cell->compiled, "Expected the text of a cell that may be compiled");
    auto copy = std::make_unique<UserCell>(*cell);
    copy->inference = library.with(cell->inference, &CompiledCell::inference);
    copy->forward = library.with(cell->forward, &CompiledCell::forward);
    copy->backward = library.with(cell->backward, &CompiledCell::backward);
    replaced.push_back(std::move(cell));
    cell = std::move(copy);
  }

 private:
  std::unique_ptr<const UserCell>& kept(std::string_view text) {
    auto found = known.find(text);
    if (found == known.end()) {
      auto made = std::make_unique<const UserCell>(read(text));  // nothing is kept of a text that is wrong
      found = known.emplace(text, std::move(made)).first;
    }
    return found->second;
  }

  std::mutex mutex;
  std::unordered_map<std::string, std::unique_ptr<const UserCell>, Hash, std::equal_to<>> known;
  std::vector<std::unique_ptr<const UserCell>> replaced;
};

KnownCells& known_cells() {
  static KnownCells cells;
  return cells;
}

}  // namespace

const UserCell& user_cell(std::string_view text) { return known_cells().of(text); }

void use_library(std::string_view text, const CellLibrary& library) { known_cells().use(text, library); }

std::vector<std::string_view> operation_names() { return {std::begin(names), std::end(names)}; }

}  // namespace fastrnn
