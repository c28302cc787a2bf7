// The instructions of a program (../cells/program.h): each is a loop over the vectors of a block of units.
//
// Always inline, in the one loop that decodes them (interpreter.h): as a function of its own each instruction took 2 ns
// more, a quarter of what it takes on 64 units, and its loop read from memory where the block ends.
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
FASTRNN_INLINE void run_instruction(const Instruction& i, const Loop<T>& loop, const T* a, const T* b, const T* c, T k,
                                    T l) {
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
    case Operation::matrix_product:
    case Operation::count:
      break;
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
