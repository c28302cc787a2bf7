#include "checked_program.h"

#include <algorithm>

namespace fastrnn {

namespace {

bool over_units(Operation operation) { return operation == Operation::mean || operation == Operation::mean_of_product; }
bool multiplies_and_adds(Operation operation) { return operation > Operation::where && operation < Operation::mean; }

int operands(Operation operation) {
  if (operation == Operation::matrix_product) return 1;
  if (over_units(operation)) return operation == Operation::mean ? 1 : 2;
  if (operation < Operation::add) return 1;
  return operation < Operation::where ? 2 : 3;
}

std::string place_name(int32_t place) { return "place " + std::to_string(place); }

// Goes through a program as the interpreter does, with what each place has.
class Check {
 public:
  explicit Check(const Program& program)
      : program(program), places(program.first_number() + program.numbers), known(places), read(places),
        summed(places) {
    for (int32_t i = 0; i < program.inputs; ++i) known[i] = true;
  }

  void all() {
    int64_t at = 0;
    for (int32_t c = 0; c < program.cut_count; ++c) {
      const Cut& cut = program.cuts[c];
      if (cut.units_end < at || cut.products_end < cut.units_end || cut.products_end > program.count)
        throw std::invalid_argument("a program of " + std::to_string(program.count) + " instructions is cut at " +
                                    std::to_string(cut.units_end) + " and " + std::to_string(cut.products_end));
      for (; at < cut.units_end; ++at) of_units(program.code[at]);
      end_row();
      for (; at < cut.numbers_end; ++at) of_numbers(program.code[at]);
      for (; at < cut.products_end; ++at) of_matrices(program.code[at]);
      for (int64_t i = cut.numbers_end; i < cut.products_end; ++i) known[program.code[i].to] = true;
    }
    for (; at < program.count; ++at) of_units(program.code[at]);
    for (int32_t i = 0; i < program.outputs; ++i)
      if (!known[program.inputs + i]) throw std::invalid_argument("output " + std::to_string(i) + " is not written");
  }

 private:
  bool is_number(int32_t place) const { return place >= program.first_number(); }
  bool is_row(int32_t place) const { return place >= 0 && !is_number(place); }

  void of_units(const Instruction& i) {
    if (i.operation == Operation::matrix_product)
      throw std::invalid_argument("a product with a matrix is not the last before a cut");
    for (int n = 0; n < 3; ++n) {
      const int32_t place = operand(i, n);
      const bool used = n < operands(i.operation), one = used && may_be_one(i, n, is_row(other(i, n)));
      if (place < constant || place >= places || (!is_row(place) && !one))
        throw std::invalid_argument("an instruction reads " + place_name(place));
      if (used) must_be_known(place);
      if (used && place != constant) read[place] = true;
    }
    if (i.to < program.inputs || i.to >= places || is_number(i.to) != over_units(i.operation))
      throw std::invalid_argument("an instruction writes to " + place_name(i.to));
    // Until the last block is done a mean is a part of its sum.
    if (over_units(i.operation) && (read[i.to] || summed[i.to]))
      throw std::invalid_argument("a mean writes to " + place_name(i.to) + ", which others use before the cut");
    known[i.to] = !over_units(i.operation);
    summed[i.to] = over_units(i.operation);
  }

  void end_row() {
    const int32_t temporary = program.inputs + program.outputs;
    for (int32_t place = 0; place < places; ++place) {
      if (summed[place]) known[place] = true;
      if (place >= temporary && place < temporary + program.temporaries) known[place] = false;  // has the last block
      read[place] = summed[place] = false;
    }
  }

  void of_numbers(const Instruction& i) {
    for (int n = 0; n < 3; ++n) {
      const int32_t place = operand(i, n);
      const bool used = n < operands(i.operation), one = may_be_one(i, n, other(i, n) != constant);
      if (place < constant || place >= places || (used && !is_number(place) && !(place == constant && one)))
        throw std::invalid_argument("an instruction of numbers reads " + place_name(place));
      if (used) must_be_known(place);
    }
    if (!is_number(i.to) || i.to >= places || over_units(i.operation) || i.operation == Operation::matrix_product)
      throw std::invalid_argument("an instruction of numbers writes to " + place_name(i.to));
    known[i.to] = true;
  }

  // A row times a matrix is another row, which is not known until all products before the cut are.
  void of_matrices(const Instruction& i) {
    for (int32_t place : {i.a, i.to})
      if (place < program.first_row() || is_number(place) || place >= places)
        throw std::invalid_argument("a product with a matrix is of " + place_name(place) + ", which is no row");
    must_be_known(i.a);
    if (i.a == i.to) throw std::invalid_argument("a product with a matrix writes to what it reads");
    if (!(i.k >= 0 && i.k < most_matrices) || i.k != int(i.k))
      throw std::invalid_argument("a cell has " + std::to_string(most_matrices) + " matrices at most");
    known[i.to] = false;
  }

  static int32_t operand(const Instruction& i, int n) { return n == 0 ? i.a : n == 1 ? i.b : i.c; }
  static int32_t other(const Instruction& i, int n) { return n == 0 ? i.b : i.a; }

  // Whether an operand may be a constant, or a number beside rows: what is copied, what `where` chooses, one of two,
  // and b, as a number, of a b + c.
  bool may_be_one(const Instruction& i, int n, bool other_is_more) const {
    if (i.operation == Operation::copy) return true;
    if (i.operation == Operation::where) return n > 0;
    if (multiplies_and_adds(i.operation)) return n == 1 && is_number(i.b);
    return operands(i.operation) == 2 && !over_units(i.operation) && other_is_more;
  }

  void must_be_known(int32_t place) const {
    if (place != constant && !known[place])
      throw std::invalid_argument("an instruction reads " + place_name(place) + ", which is not yet written");
  }

  const Program& program;
  const int32_t places;
  std::vector<bool> known, read, summed;  // read and summed: by units since the last cut
};

}  // namespace

CheckedProgram::CheckedProgram(const std::vector<Given>& given, int32_t inputs, int32_t outputs, int32_t temporaries,
                               int32_t rows, int32_t numbers, const Cuts& given_cuts)
    : inputs(inputs), outputs(outputs), temporaries(temporaries), rows(rows), numbers(numbers) {
  int64_t places = 0;
  for (int32_t count : {inputs, outputs, temporaries, rows, numbers}) places += count < 0 ? most_places + 1 : count;
  if (places > most_places)
    throw std::invalid_argument("a program has 0 to " + std::to_string(most_places) + " places");
  for (const auto& [operation, to, a, b, c, k, l] : given) {
    if (operation < 0 || operation >= int32_t(Operation::count))
      throw std::invalid_argument("there is no operation " + std::to_string(operation));
    instructions.push_back({Operation(operation), to, a, b, c, k, l});
  }
  for (const auto& [units_end, end] : given_cuts) {
    int64_t numbers_end = end;  // products come last
    while (numbers_end > 0 && numbers_end > units_end && numbers_end <= int64_t(instructions.size()) &&
           instructions[numbers_end - 1].operation == Operation::matrix_product)
      --numbers_end;
    cuts.push_back({units_end, numbers_end, end});
  }
  Check(program()).all();
}

int32_t CheckedProgram::matrices() const {
  int32_t count = 0;
  for (const Instruction& i : instructions)
    if (i.operation == Operation::matrix_product) count = std::max(count, int32_t(i.k) + 1);
  return count;
}

}  // namespace fastrnn
