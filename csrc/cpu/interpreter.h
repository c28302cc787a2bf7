// Runs a program (../cells/program.h): block by block of units, each instruction a loop over the vectors of a block.
//
// Between instructions numbers lie in temporaries of a block, which the first-level cache holds. So an instruction
// costs what its function costs, and a load and a store.
#pragma once
#include "instructions.h"

namespace fastrnn::FASTRNN_TARGET {

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
  V all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  if (begin > 0) all = V::load(to) + all;
  if (begin + m < n) return all.store(to);
  T sum[V::lanes];
  all.store(sum);
#pragma GCC unroll 4
  for (int lanes = V::lanes / 2; lanes > 0; lanes /= 2)
#pragma GCC unroll 8
    for (int lane = 0; lane < lanes; ++lane) sum[lane] += sum[lane + lanes];
  *to = sum[0] / T(n);
}

// Where the rows of a program lie: `apart` numbers from one to the next, and after them the numbers of a row.
template <class T>
struct BeyondCuts {
  T* rows;
  int64_t apart;
  T* numbers;
};

// One program on n numbers of one row.
template <class T>
class Run {
 public:
  Run(const Program& program, int64_t n, T* temporaries, const BeyondCuts<T>& beyond)
      : program(program), n(n), apart(beyond.apart), first_number(program.first_number()), rows(beyond.rows) {
    int32_t place = program.inputs + program.outputs;
    for (int32_t i = 0; i < program.temporaries; ++i) set(place++, temporaries + i * block_numbers);
    place += program.rows;
    for (int32_t i = 0; i < program.numbers; ++i) set(place++, beyond.numbers + i * number_room);
  }

  // Stages first … end - 1, among which there are no products.
  void run(const T* const* in, T* const* out, int32_t first, int32_t end) {
    for (int32_t stage = first; stage < end; ++stage) {
      const int64_t begin = program.first_of_stage(stage);
      if (stage == program.cut_count) return on_units(in, out, begin, program.count);
      const Cut& cut = program.cuts[stage];
      on_units(in, out, begin, cut.units_end);
      if (cut.numbers_end > cut.units_end) on_block(cut.units_end, cut.numbers_end, 0, 1, most_places);
    }
  }

 private:
  void set(int32_t place, T* to) { places[place] = results[place] = to; }

  void on_units(const T* const* in, T* const* out, int64_t first, int64_t end) {
    for (int64_t begin = 0; begin < n; begin += block_numbers) {
      int32_t place = 0;
      for (int32_t i = 0; i < program.inputs; ++i) places[place++] = in[i] + begin;
      for (int32_t i = 0; i < program.outputs; ++i) set(place++, out[i] + begin);
      place += program.temporaries;
      for (int32_t i = 0; i < program.rows; ++i) set(place++, rows + i * apart + begin);
      const int64_t left = n - begin;
      on_block(first, end, begin, left < block_numbers ? left : block_numbers, first_number);
    }
  }

  // Instructions first … end - 1 on m units from `begin` on. Places from `ones` on have one number for all of them.
  __attribute__((noinline)) void on_block(int64_t first, int64_t end, int64_t begin, int64_t m, int32_t ones) const {
    for (const Instruction *at = program.code + first, *last = program.code + end; at < last; ++at) {
      const Instruction& i = *at;
      T k = T(i.k), l = T(i.l);
      const auto operand = [&](int32_t place, T& one) -> const T* {
        if (place == constant) return nullptr;
        if (place < ones) return places[place];
        one = *places[place];
        return nullptr;
      };
      const T *a = operand(i.a, k), *b = operand(i.b, k), *c = operand(i.c, i.operation == Operation::where ? l : k);
      T* const to = results[i.to];
      if (i.operation < Operation::mean)
        run_instruction(i, Loop<T>{to, m}, a, b, c, k, l);
      else if (i.operation == Operation::mean)
        add_to_mean(to, begin, m, n, [=](int64_t j, int count) { return Vec<T>::load(a + j, count); });
      else
        add_to_mean(to, begin, m, n,
                    [=](int64_t j, int count) { return Vec<T>::load(a + j, count) * Vec<T>::load(b + j, count); });
    }
  }

  const Program& program;
  const int64_t n, apart;
  const int32_t first_number;
  T* const rows;
  const T* places[most_places];
  T* results[most_places];
};

// Rows of n numbers: program.inputs of them in, program.outputs out. `scratch`: program.scratch(n) numbers. Without
// products with matrices.
template <class T>
void run_program(const Program& program, const T* const* in, T* const* out, int64_t n, T* scratch) {
  if (const auto compiled = program.compiled.of<T>()) return compiled(in, out, n);
  T* const rows = scratch + program.scratch_between();
  Run<T>(program, n, scratch, {rows, row_room(n), rows + program.rows * row_room(n)})
      .run(in, out, 0, program.cut_count + 1);
}

}  // namespace fastrnn::FASTRNN_TARGET
