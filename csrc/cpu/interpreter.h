// Runs a program (../cells/program.h): block by block of units, each instruction a loop over the vectors of a block.
//
// Between instructions numbers lie in temporaries of a block, which the first-level cache holds. So an instruction
// costs what its function costs, and a load and a store.
#pragma once
#include "../cells/program.h"
#include "functions.h"

namespace fastrnn::FASTRNN_TARGET {

// The loops of one instruction on the m numbers of a block. An operand is a row of numbers, or one number.
template <class T>
struct Loop {
  using V = Vec<T>;
  struct Row {
    const T* from;
    FASTRNN_INLINE V operator()(int64_t j, int n) const { return V::load(from + j, n); }
  };
  struct Number {
    typename V::Register value;
    FASTRNN_INLINE V operator()(int64_t, int) const { return value; }
  };

  T* to;
  int64_t m;

  template <class F, class... Operands>
  FASTRNN_INLINE void each(F f, Operands... operands) const {
    int64_t j = 0;
    for (; j + V::lanes <= m; j += V::lanes) f(operands(j, V::lanes)...).store(to + j);
    if (j < m) f(operands(j, int(m - j))...).store(to + j, int(m - j));
  }
};

// The loop of an instruction with two operands, of which one may be a number.
template <class T, class F>
FASTRNN_INLINE void binary(const Loop<T>& loop, const T* a, const T* b, T k, F f) {
  using Row = typename Loop<T>::Row;
  const typename Loop<T>::Number number{typename Vec<T>::Register{} + k};
  if (!a)
    loop.each(f, number, Row{b});
  else if (!b)
    loop.each(f, Row{a}, number);
  else
    loop.each(f, Row{a}, Row{b});
}

// The loop of a b + c and its kin, where b may be a number.
template <class T, class F>
FASTRNN_INLINE void multiplied(const Loop<T>& loop, const T* a, const T* b, const T* c, T k, F f) {
  using Row = typename Loop<T>::Row;
  if (b)
    loop.each(f, Row{a}, Row{b}, Row{c});
  else
    loop.each(f, Row{a}, typename Loop<T>::Number{typename Vec<T>::Register{} + k}, Row{c});
}

// An operand that is no row is null, and k in its place; of `where` k for b and l for c.
template <class T>
void run_instruction(const Instruction& i, const Loop<T>& loop, const T* a, const T* b, const T* c, T k, T l) {
  using V = Vec<T>;
  using Register = typename V::Register;
  using Row = typename Loop<T>::Row;
  using Number = typename Loop<T>::Number;
  const Register one = Register{} + 1, zero{};
  auto unary = [&](auto f) __attribute__((always_inline)) { loop.each(f, Row{a}); };
  auto two = [&](auto f) __attribute__((always_inline)) { binary(loop, a, b, k, f); };
  auto three = [&](auto f) __attribute__((always_inline)) { multiplied(loop, a, b, c, k, f); };
  switch (i.operation) {
    case Operation::copy:
      if (a)
        unary([](V x) { return x; });
      else
        loop.each([](V x) { return x; }, Number{Register{} + k});
      break;
    case Operation::neg:
      unary([](V x) { return V(-x.v); });
      break;
    case Operation::exp:
      unary([](V x) { return exp(x); });
      break;
    case Operation::log:
      unary([](V x) { return log(x); });
      break;
    case Operation::log1p:
      unary([](V x) { return log1p(x); });
      break;
    case Operation::sqrt:
      unary([](V x) { return sqrt(x); });
      break;
    case Operation::abs:
      unary([](V x) { return V(absolute<T>(x.v)); });
      break;
    case Operation::sign:
      unary([](V x) { return sign(x); });
      break;
    case Operation::sigmoid:
      unary([](V x) { return sigmoid(x); });
      break;
    case Operation::tanh:
      unary([](V x) { return tanh(x); });
      break;
    case Operation::relu:
      unary([](V x) { return relu(x); });
      break;
    case Operation::softplus:
      unary([](V x) { return softplus(x); });
      break;
    case Operation::logsigmoid:
      unary([](V x) { return logsigmoid(x); });
      break;
    case Operation::normal_cdf:
      unary([](V x) { return normal_cdf(x); });
      break;
    case Operation::normal_density:
      unary([](V x) { return normal_density(x); });
      break;
    case Operation::sin:
      unary([](V x) { return sin(x); });
      break;
    case Operation::cos:
      unary([](V x) { return cos(x); });
      break;
    case Operation::negate_truth:
      unary([=](V x) { return V(one - x.v); });
      break;
    case Operation::power:
      unary([n = int(i.k)](V x) { return power(x, n); });
      break;
    case Operation::clamp:
      unary([=](V x) { return clamp(x, k, l); });
      break;
    case Operation::add:
      two([](V x, V y) { return x + y; });
      break;
    case Operation::sub:
      two([](V x, V y) { return x - y; });
      break;
    case Operation::mul:
      two([](V x, V y) { return x * y; });
      break;
    case Operation::div:
      two([](V x, V y) { return x / y; });
      break;
    case Operation::maximum:
      two([](V x, V y) { return maximum(x, y); });
      break;
    case Operation::minimum:
      two([](V x, V y) { return minimum(x, y); });
      break;
    case Operation::less:
      two([=](V x, V y) { return V(x.v < y.v ? one : zero); });
      break;
    case Operation::less_or_equal:
      two([=](V x, V y) { return V(x.v <= y.v ? one : zero); });
      break;
    case Operation::equal:
      two([=](V x, V y) { return V(x.v == y.v ? one : zero); });
      break;
    case Operation::both:
      two([](V x, V y) { return x * y; });
      break;
    case Operation::either:
      two([](V x, V y) { return maximum(x, y); });
      break;
    case Operation::where: {
      auto choose = [=](V condition, V x, V y) { return V(condition.v != zero ? x.v : y.v); };
      const Number first{Register{} + k}, second{Register{} + l};
      if (!b && !c)
        loop.each(choose, Row{a}, first, second);
      else if (!b)
        loop.each(choose, Row{a}, first, Row{c});
      else if (!c)
        loop.each(choose, Row{a}, Row{b}, second);
      else
        loop.each(choose, Row{a}, Row{b}, Row{c});
      break;
    }
    case Operation::multiply_add:
      three([](V x, V y, V z) { return x * y + z; });
      break;
    case Operation::multiply_sub:
      three([](V x, V y, V z) { return x * y - z; });
      break;
    case Operation::sub_multiplied:
      three([](V x, V y, V z) { return z - x * y; });
      break;
    case Operation::mean:
    case Operation::mean_of_product:
    case Operation::count:
      break;
  }
}

// Adds the m numbers of a block to the mean of a row of n, which is in `to` after its last block: in each block on
// lanes of their own, so that few numbers follow each other in a sum. The order depends on n and the lanes alone.
template <class T, class F>
FASTRNN_INLINE void add_to_mean(T* to, int64_t begin, int64_t m, int64_t n, F number) {
  using V = Vec<T>;
  constexpr int side_by_side = 4;  // an addition takes four cycles
  V sums[side_by_side]{};
  int64_t j = 0;
  for (; j + side_by_side * V::lanes <= m; j += side_by_side * V::lanes)
#pragma GCC unroll 4
    for (int s = 0; s < side_by_side; ++s) sums[s] = sums[s] + number(j + s * V::lanes, V::lanes);
  for (; j < m; j += V::lanes) sums[0] = sums[0] + number(j, int(m - j));
  const V block = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  (begin > 0 ? V::load(to) + block : block).store(to);
  if (begin + m < n) return;
  for (int lanes = V::lanes / 2; lanes > 0; lanes /= 2)
    for (int lane = 0; lane < lanes; ++lane) to[lane] += to[lane + lanes];
  to[0] /= T(n);
}

// One program on one row of n numbers.
template <class T>
class Run {
 public:
  Run(const Program& program, int64_t n, T* scratch)
      : program(program), n(n), first_number(program.first_number()),
        rows(scratch + program.temporaries * block_numbers) {
    int32_t place = program.inputs + program.outputs;
    for (int32_t i = 0; i < program.temporaries; ++i) set(place++, scratch + i * block_numbers);
    place += program.rows;
    T* const numbers = rows + program.rows * n;
    for (int32_t i = 0; i < program.numbers; ++i) set(place++, numbers + i * number_room);
  }

  void run(const T* const* in, T* const* out) {
    int64_t first = 0;
    for (int32_t c = 0; c < program.cut_count; ++c) {
      const Cut& cut = program.cuts[c];
      on_units(in, out, first, cut.units_end);
      for (int64_t i = cut.units_end; i < cut.numbers_end; ++i) on_numbers(program.code[i]);
      first = cut.numbers_end;
    }
    on_units(in, out, first, program.count);
  }

 private:
  // Instructions first … end - 1 on all units of a row.
  void on_units(const T* const* in, T* const* out, int64_t first, int64_t end) {
    for (int64_t begin = 0; begin < n; begin += block_numbers) {
      int32_t place = 0;
      for (int32_t i = 0; i < program.inputs; ++i) places[place++] = in[i] + begin;
      for (int32_t i = 0; i < program.outputs; ++i) set(place++, out[i] + begin);
      place += program.temporaries;
      for (int32_t i = 0; i < program.rows; ++i) set(place++, rows + i * n + begin);
      const int64_t left = n - begin, m = left < block_numbers ? left : block_numbers;
      for (int64_t i = first; i < end; ++i) on_block(program.code[i], begin, m);
    }
  }

  void set(int32_t place, T* to) { places[place] = results[place] = to; }

  void on_block(const Instruction& i, int64_t begin, int64_t m) const {
    T k = T(i.k), l = T(i.l);
    const T *a = operand(i.a, k), *b = operand(i.b, k), *c = operand(i.c, i.operation == Operation::where ? l : k);
    T* const to = results[i.to];
    if (i.operation == Operation::mean)
      add_to_mean(to, begin, m, n, [=](int64_t j, int count) { return Vec<T>::load(a + j, count); });
    else if (i.operation == Operation::mean_of_product)
      add_to_mean(to, begin, m, n,
                  [=](int64_t j, int count) { return Vec<T>::load(a + j, count) * Vec<T>::load(b + j, count); });
    else
      run_instruction(i, Loop<T>{to, m}, a, b, c, k, l);
  }

  // A row, or null and the number of it in `number`.
  const T* operand(int32_t place, T& number) const {
    if (place == constant) return nullptr;
    if (place < first_number) return places[place];
    number = *places[place];
    return nullptr;
  }

  // Numbers of numbers: loops over one.
  void on_numbers(const Instruction& i) const {
    const auto number = [this](int32_t place) { return place == constant ? nullptr : places[place]; };
    run_instruction(i, Loop<T>{results[i.to], 1}, number(i.a), number(i.b), number(i.c), T(i.k), T(i.l));
  }

  const Program& program;
  const int64_t n;
  const int32_t first_number;
  T* const rows;
  const T* places[most_places];
  T* results[most_places];
};

// Rows of n numbers: program.inputs of them in, program.outputs out. `scratch`: program.scratch(n) numbers.
template <class T>
void run_program(const Program& program, const T* const* in, T* const* out, int64_t n, T* scratch) {
  Run<T>(program, n, scratch).run(in, out);
}

}  // namespace fastrnn::FASTRNN_TARGET
