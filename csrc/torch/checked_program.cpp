#include "checked_program.h"

namespace fastrnn {

namespace {

bool over_units(Operation operation) { return operation >= Operation::mean; }
bool multiplies_and_adds(Operation operation) { return operation > Operation::where && !over_units(operation); }

int operands(Operation operation) {
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
      if (cut.units_end < at || cut.numbers_end < cut.units_end || cut.numbers_end > program.count)
        throw std::invalid_argument("a program of " + std::to_string(program.count) + " instructions is cut at " +
                                    std::to_string(cut.units_end) + " and " + std::to_string(cut.numbers_end));
      for (; at < cut.units_end; ++at) of_units(program.code[at]);
      end_row();
      for (; at < cut.numbers_end; ++at) of_numbers(program.code[at]);
    }
    for (; at < program.count; ++at) of_units(program.code[at]);
    for (int32_t i = 0; i < program.outputs; ++i)
      if (!known[program.inputs + i]) throw std::invalid_argument("output " + std::to_string(i) + " is not written");
  }

 private:
  bool is_number(int32_t place) const { return place >= program.first_number(); }
  bool is_row(int32_t place) const { return place >= 0 && !is_number(place); }

  void of_units(const Instruction& i) {
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
    if (!is_number(i.to) || i.to >= places || over_units(i.operation))
      throw std::invalid_argument("an instruction of numbers writes to " + place_name(i.to));
    known[i.to] = true;
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
  for (const auto& [units_end, numbers_end] : given_cuts) cuts.push_back({units_end, numbers_end});
  Check(program()).all();
}

}  // namespace fastrnn
