// Which windows of a round must not be trained before which.
//
// A round is a block for each stream, and its windows have an order: window 0 of every stream, then window 1, and so
// on. Two windows that share a row must be trained in that order, all others may be trained at once.
#pragma once
#include "block.h"

namespace fastrnn::FASTRNN_TARGET {

// Blocks that are trained together, and so the most workers that have work. Two workers take 1.03 times as long as with
// 2 streams for skip-gram and 1.07 for CBOW, with 8 streams 1.03 and 1.17.
constexpr int streams = 4;

// A window's number in its round: its place in the order.
FASTRNN_INLINE int32_t number_of(int64_t window, int stream) { return int32_t(window * streams + stream); }

class Conflicts {
 public:
  // For each window, the last one of another worker that has one of its rows before it, or -1: by the rows of the
  // context and by those of the outputs, each found by a worker for all.
  void find(const Training& t, Workspaces& spaces, const Team& team) {
    if (team.rank == 0)
      find(context, &Drawn::after_context, spaces, team,
           [&](const Drawn& drawn, int64_t i, auto touch) { for_each_context(t, drawn, i, touch); });
    if (team.rank == team.size - 1)
      find(output, &Drawn::after_output, spaces, team, [&](const Drawn& drawn, int64_t i, auto touch) {
        const auto touch_output = [&](int32_t row, float) { touch(row); };
        for_each_output(t, drawn, i, touch_output, touch_output);
      });
  }

 private:
  // Which window had a row last. Rows share slots, for a small table stays in the nearest cache: a window may wait for
  // one with which it shares nothing, but never too short, for that one has waited for the one it hides.
  struct Last {
    static constexpr uint32_t slots = 8192;
    int32_t window[slots];
  };
  Last context, output;

  template <class ForEachRow>
  static void find(Last& last, int32_t* Drawn::* after, Workspaces& spaces, const Team& team, ForEachRow for_each_row) {
    uint32_t same_worker[streams];  // a bit for each stream
    for (int a = 0; a < streams; ++a) {
      same_worker[a] = 0;
      for (int b = a % team.size; b < streams; b += team.size) same_worker[a] |= 1u << b;
    }
    for (int32_t& window : last.window) window = -1;
    for (int64_t i = 0, longest = spaces.longest(); i < longest; ++i)
      for (int stream = 0; stream < streams; ++stream) {
        Drawn& drawn = spaces[stream].drawn;
        if (i >= drawn.count) continue;
        const int32_t number = number_of(i, stream);
        int32_t found = -1;
        if (drawn.word[i] >= 0)
          for_each_row(drawn, i, [&](uint32_t row) __attribute__((always_inline)) {
            int32_t& before = last.window[row % Last::slots];
            const int32_t others = same_worker[stream] >> (before & (streams - 1)) & 1 ? -1 : before;
            found = others > found ? others : found;
            before = number;
          });
        (drawn.*after)[i] = found;
      }
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
