// deterministic=True: the same bits for any number of workers.
//
// A worker trains the windows of its streams without synchronization, except before a window that depends on one of
// another worker: there it waits until that one is done. So every window finds its rows as if all windows before it,
// and none after it, had been trained. Few windows that are trained at the same time share a row: two workers wait
// before 7 % of the windows of enwiki8.
#pragma once
#include "conflicts.h"

namespace fastrnn::FASTRNN_TARGET {

// The progress of each worker. Windows are numbered through the whole epoch.
class Progress {
 public:
  // The calling worker is at this window and has trained all of its earlier ones.
  void arrive(const Team& team, int64_t window) { __atomic_store_n(&next[team.rank].window, window, __ATOMIC_RELEASE); }

  // Waits until all others are past a window. Returns a window before which they have trained all of theirs.
  int64_t wait(const Team& team, int64_t window) const {
    int64_t least = INT64_MAX;
    for (int other = 0; other < team.size; ++other) {
      if (other == team.rank) continue;
      int64_t place;
      for (int spins = 0; (place = __atomic_load_n(&next[other].window, __ATOMIC_ACQUIRE)) <= window; ++spins)
        wait_a_little(spins);
      least = smaller(least, place);
    }
    return least;
  }

 private:
  struct alignas(64) Place {
    int64_t window = 0;
  };
  Place next[streams];
};

class InOrder {
 public:
  explicit InOrder(const Training& t) : spaces(t, streams) {}

  // One for hierarchical softmax: the root of the tree is in every window, so two workers always wait for each other
  // and take 1.4 times as long as one.
  static int workers(const Training& t) { return t.path_offsets ? 1 : int(smaller(t.workers, streams)); }

  // Called by every worker.
  template <bool skip_gram>
  void train(Epoch& epoch, Team& team) {
    int64_t windows = 0;  // in all earlier rounds
    for (int64_t first = 0;; first += streams) {
      for (int stream = team.rank; stream < streams; stream += team.size) draw(epoch, first + stream, spaces[stream]);
      team.sync();
      const int64_t longest = spaces.longest();  // between the two barriers, where no worker draws
      if (team.rank == 0 && first > 0) finish(epoch, first - streams);
      if (team.size > 1) conflicts.find(epoch.t, spaces, team);
      team.sync();
      if (first >= epoch.t.block_count || epoch.stopped()) return;
      train_round<skip_gram>(epoch, first, longest, windows, team);
      windows += longest * streams;
      progress.arrive(team, windows);
    }
  }

 private:
  Workspaces spaces;
  Conflicts conflicts;
  Progress progress;
  Loss losses[streams];

  static void draw(Epoch& epoch, int64_t block, Workspace& space) {
    const Training& t = epoch.t;
    space.drawn.count = 0;
    if (block >= t.block_count) return;
    epoch.draw(block, space.drawn);
    for (int64_t i = 0; i < space.drawn.count; ++i) draw_negatives(t, space.drawn, i);
  }

  // Adds the losses of the round that starts at block `first`. In order, because a sum of floats depends on it.
  void finish(Epoch& epoch, int64_t first) {
    for (int64_t block = first; block < smaller(first + streams, epoch.t.block_count); ++block)
      epoch.done(block, losses[block - first]);
    epoch.report();
  }

  template <bool skip_gram>
  void train_round(const Epoch& epoch, int64_t first, int64_t longest, int64_t windows, const Team& team) {
    const Training& t = epoch.t;
    const int last = int(smaller(streams, t.block_count - first));
    float alpha[streams];
    Loss loss[streams]{};
    for (int stream = 0; stream < last; ++stream) alpha[stream] = epoch.alpha(first + stream);
    int64_t done_by_others = windows;
    for (int64_t i = -windows_ahead; i < longest; ++i)
      for (int stream = team.rank; stream < last; stream += team.size) {
        const Drawn& drawn = spaces[stream].drawn;
        if (i >= drawn.count) continue;
        if (team.size > 1 && i >= 0) {
          progress.arrive(team, windows + number_of(i, stream));
          const int64_t after = windows + drawn.after(i);
          if (after >= done_by_others) done_by_others = progress.wait(team, after);
        }
        train_window<skip_gram, true>(t, spaces[stream], alpha[stream], i, loss[stream]);
      }
    for (int stream = team.rank; stream < last; stream += team.size) losses[stream] = loss[stream];
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
