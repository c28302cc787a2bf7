// The dependencies between the windows of a round.
//
// A round has one block per stream, and its windows have an order: window 0 of every stream, then window 1, and so on.
// Two windows that share a row must be trained in this order; all others can be trained at the same time.
#pragma once
#include "block.h"

namespace fastrnn::FASTRNN_TARGET {

// Blocks that are trained together, which is also the largest useful number of workers. With two workers, 4 streams
// take 1.03 times as long as 2 for skip-gram and 1.07 for CBOW; 8 streams 1.03 and 1.17.
constexpr int streams = 4;

// A window's number in its round: its position in the order.
FASTRNN_INLINE int32_t number_of(int64_t window, int stream) { return int32_t(window * streams + stream); }

class Conflicts {
 public:
  // Finds for each window the last earlier window of another worker that shares a row with it, or -1. One worker does
  // so for the rows of the context, another for the rows of the outputs.
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
  // The last window that used each row. Rows share slots, because a small table stays in the first cache. So a window
  // may wait for one with which it shares no row. It never waits too little, because that window has itself waited for
  // the one it replaced.
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
