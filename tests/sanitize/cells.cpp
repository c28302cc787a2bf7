// The loop of users' cells by itself, for ThreadSanitizer: see __main__.py. By rows and by units, packed, with resets,
// in both directions, in float and double; teams of two and three threads, those that a barrier dissolves among them,
// must find the numbers of one thread to the last bit.
#include <cstdio>

#include "../../csrc/cpu/waiting.h"
#include "../cpp/user_cell.h"
#include "openmp.h"

namespace fastrnn {

namespace generic {
extern const Interpreter interpreter;
}

namespace by_hand {

namespace {

// By rows, by units, by units with weights that lie where they are, and in several chunks; with means over units by
// rows, by units and rows in turns, and by one thread; with a product inside the step by rows and by units.
constexpr int64_t sizes[][4] = {{40, 16, 9, 40}, {9, 3, 20, 80}, {4, 4, 5, 60}, {140, 2, 3, 70}};
constexpr int64_t sizes_with_means[][4] = {{40, 16, 9, 40}, {5, 3, 3, 180}, {4, 4, 5, 60}, {70, 1, 3, 300}};

template <class T>
int compare(const char* name, const CellPasses<T>& passes) {
  int runs = 0, different = 0;
  for (int number = 0; number < 4; ++number)
    for (int options = 0; options < 48; ++options) {
      const bool means = options / 16 == 1, product = options / 16 == 2;
      const auto& [times, batch, inputs, hidden] = means ? sizes_with_means[number] : sizes[number];
      const Shape shape{
          times, batch,  inputs, hidden, bool(options & 1), bool(options & 2), bool(options & 4), bool(options & 8),
          means, product};
      const Operands operands(shape);
      const Arrays alone = run(operands, passes, 1);
      const int never = dissolve_teams_at;
      for (const auto& [threads, dissolved] : {std::pair{2, never}, {3, never}, {2, 1}, {3, 2}, {2, 5}}) {
        dissolve_teams_at = dissolved;
        const Arrays team = run(operands, passes, threads);
        dissolve_teams_at = never;
        ++runs;
        if (team == alone) continue;
        ++different;
        printf("%s, T%d B%d H%d, options %d: %d threads find other numbers than one\n", name, int(times), int(batch),
               int(hidden), options, threads);
      }
    }
  printf("users' cells, %s: %d runs of teams, %d with other numbers than one thread\n", name, runs, different);
  return different > 0;
}

}  // namespace
}  // namespace by_hand
}  // namespace fastrnn

int main() {
  using namespace fastrnn;
  return by_hand::compare("float32", generic::interpreter.of_float) +
         by_hand::compare("float64", generic::interpreter.of_double);
}
