// The program of a step of a user's cell with what it needs beside its rows: scratch, and the matrices that multiply
// between two of its stages.
//
// A stage runs on all rows of a step before the next begins, so a product is one of all these rows. What is read beyond
// it is then kept for every row of the batch. Without products each thread keeps that of one row.
#pragma once
#include "cell_rows.h"
#include "interpreter.h"

namespace fastrnn::FASTRNN_TARGET {

// Weights: CellWeights forward, ColumnWeights, which multiply by the transposed matrix, backward.
template <class T, class Weights>
class CellProgram {
  using R = CellRows<T>;

 public:
  // make(m): matrix m; also where the cell has fewer, with no gate.
  template <class Make>
  CellProgram(const R& loop, const Program& program, Make make)
      : loop(loop), program(program), multiplies(program.has_products()),
        beyond_row(R::odd_lines(program.scratch_beyond(loop.hidden))),
        between(loop.plan.threads * program.scratch_between()),
        beyond((multiplies ? loop.p.batch : loop.plan.threads) * beyond_row), zeros(multiplies ? loop.width : 0),
        zero_rows(1, rows()), left_rows(loop.plan.threads, rows()), result_rows(loop.plan.threads, rows()),
        matrices{make(0), make(1), make(2), make(3)} {
    static_assert(most_matrices == 4);
    zeros.clear(multiplies ? loop.width : 0);
    zero_rows.fill(zeros);
  }

  void pack(const Team& team) {
    for (Weights& matrix : matrices) matrix.pack(team);
  }

  // Calls apply(b, units, stages) for this thread's part of some rows of the batch, stages by stages, with the products
  // between them. `from_end`: see sweep().
  template <class Apply>
  void run(Team& team, Range rows, bool from_end, Apply apply) {
    for (int32_t stage = 0, end; stage <= program.cut_count; stage = end) {
      end = program.stages_end(stage);
      const Range cells = loop.my_cells(team, rows), units = loop.my_units_of_cells(team);
      for (int64_t b = cells.begin; b < cells.end; ++b) apply(b, units, Range{stage, end});
      if (end <= program.cut_count) multiply(team, program.cuts[end - 1], rows, from_end);
    }
  }

  // Some stages on these units of row b. in, out: from the first of them on.
  void on_row(const Team& team, int64_t b, Range units, Range stages, const T* const* in, T* const* out) const {
    if (const auto compiled = program.compiled.of<T>()) return compiled(in, out, units.size());
    const int64_t apart = row_room(loop.hidden);
    T* const kept = beyond + (multiplies ? b : team.rank) * beyond_row;
    Run<T>(program, units.size(), between + team.rank * program.scratch_between(),
           {kept + units.begin, apart, kept + program.rows * apart})
        .run(in, out, int32_t(stages.begin), int32_t(stages.end));
  }

 private:
  int64_t rows() const { return multiplies ? loop.p.batch : 0; }
  T* row_of(int64_t b, int32_t place) const {
    return beyond + b * beyond_row + (place - program.first_row()) * row_room(loop.hidden);
  }

  void multiply(Team& team, const Cut& cut, Range rows, bool from_end) {
    loop.sync_units(team);  // others have their units of what is multiplied
    const T** left = left_rows.of(team);
    T** to = result_rows.of(team);
    for (int64_t at = cut.numbers_end; rows.size() > 0 && at < cut.products_end; ++at) {
      const Instruction& product = program.code[at];
      for (int64_t b = rows.begin; b < rows.end; ++b)
        left[b - rows.begin] = row_of(b, product.a), to[b - rows.begin] = row_of(b, product.to);
      matrices[int(product.k)].times(team, loop.my_vectors(team), rows.size(), from_end, {left, zero_rows, to});
    }
    loop.sync_means(team);
  }

  const R& loop;
  const Program program;
  const bool multiplies;
  const int64_t beyond_row;
  Buffer<T> between, beyond, zeros;
  RowPointers<const T*> zero_rows, left_rows;
  RowPointers<T*> result_rows;
  Weights matrices[most_matrices];
};

}  // namespace fastrnn::FASTRNN_TARGET
