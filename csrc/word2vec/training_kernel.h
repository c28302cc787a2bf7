// An epoch: blocks of about 10,000 words, each subsampled and then trained window by window.
#include "../cpu/threads.h"
#include "training_workspace.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Loss;

// How many windows ahead of its turn a window's rows are asked for. CBOW 1.3 times as fast as with the rows of eight
// windows asked for at once, before the first of them is trained.
constexpr int windows_ahead = 8;

// What all workers of an epoch share.
struct Epoch {
  const Training& t;
  int64_t next_block = 0, words_done = 0;
  int stop = 0;
  double loss = 0;
  int64_t pairs = 0;

  explicit Epoch(const Training& training) : t(training) {}

  // The rate depends on the place in the corpus, not on who is how far, so it is the same for any number of workers.
  float alpha(int64_t block) const {
    const int64_t all = t.offsets[t.blocks[t.block_count]] - t.offsets[0];
    const double progress = double(t.offsets[t.blocks[block]] - t.offsets[0]) / double(larger(all, 1));
    return float(t.alpha_begin + (t.alpha_end - t.alpha_begin) * progress);
  }
  void done(int64_t block, Loss part) {
    const int64_t words = t.offsets[t.blocks[block + 1]] - t.offsets[t.blocks[block]];
    __atomic_add_fetch(&words_done, words, __ATOMIC_RELAXED);
#pragma omp critical(fastrnn_word2vec_loss)
    loss += part.sum, pairs += part.pairs;
  }
  void report() {
    if (!t.report(t.context, __atomic_load_n(&words_done, __ATOMIC_RELAXED), Loss{loss, pairs}))
      __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  }
  bool stopped() const { return __atomic_load_n(&stop, __ATOMIC_RELAXED); }
};

// Goes through a block window by window. Negatives that are not there yet are drawn on the way: that is faster than to
// draw them all before.
template <bool skip_gram, bool negatives_drawn>
inline void train_block(Epoch& epoch, int64_t block, Drawn& drawn, Workspace& space) {
  const Training& t = epoch.t;
  const float alpha = epoch.alpha(block);
  double loss = 0;
  int64_t pairs = 0;
  for (int64_t i = -windows_ahead; i < drawn.count; ++i) {
    // One more than those that wait: a new window is chosen before the oldest is trained.
    Window& later = space.window[(i + windows_ahead) % (windows_ahead + 1)];
    if (i + windows_ahead < drawn.count) {
      if (!negatives_drawn) draw_negatives(t, drawn, i + windows_ahead);
      choose_rows(t, drawn, i + windows_ahead, later);
    } else {
      later.outputs = later.contexts = 0;
    }
    if (i < 0) {
      fetch(later, 0, t.width);
      continue;
    }
    Window& w = space.window[i % (windows_ahead + 1)];
    multiply<skip_gram>(t, w, space.products);
    loss += judge<skip_gram>(alpha, w, space.products);
    update<skip_gram>(t, w, later, space.products);
    pairs += skip_gram ? w.contexts : w.inputs;
  }
  epoch.done(block, {loss, pairs});
}

// Hogwild (Niu et al., arXiv:1106.5730): every worker takes the next block and writes to the shared rows without locks.
template <bool skip_gram>
inline void train_without_locks(Epoch& epoch, Workspace& space, const Team& team) {
  while (!epoch.stopped()) {
    const int64_t block = __atomic_fetch_add(&epoch.next_block, 1, __ATOMIC_RELAXED);
    if (block >= epoch.t.block_count) return;
    draw_words(epoch.t, block, space.drawn);
    train_block<skip_gram, false>(epoch, block, space.drawn, space);
    if (team.rank == 0) epoch.report();
  }
}

// The same bits for any number of workers, those of one worker alone: the first of a team trains block after block, and
// meanwhile the last draws for the next one.
template <bool skip_gram>
inline void train_in_order(Epoch& epoch, Workspaces& spaces, const Team& team) {
  const int64_t count = epoch.t.block_count;
  const auto drawn = [&](int64_t block) -> Drawn& { return spaces[int(block % team.size)].drawn; };
  bool stopped = false;
  for (int64_t block = -1; block < count && !stopped; ++block) {
    if (team.rank == 0 && block >= 0) {
      train_block<skip_gram, true>(epoch, block, drawn(block), spaces[0]);
      epoch.report();
    }
    if (team.rank == team.size - 1 && block + 1 < count) {
      Drawn& next = drawn(block + 1);
      draw_words(epoch.t, block + 1, next);
      for (int64_t i = 0; i < next.count; ++i) draw_negatives(epoch.t, next, i);
    }
    team.meet();
    stopped = epoch.stopped();
    team.meet();  // or the first might stop the next block before all have looked
  }
}

template <bool skip_gram>
inline Loss train(const Training& t) {
  Epoch epoch(t);
  const int workers = t.deterministic ? int(smaller(t.workers, 2)) : t.workers;
  Workspaces spaces(workers);
  for (int i = 0; i < workers; ++i) spaces.emplace(t, windows_ahead + 1);
  parallel(workers, [&](const Team& team) {
    if (t.deterministic)
      train_in_order<skip_gram>(epoch, spaces, team);
    else
      train_without_locks<skip_gram>(epoch, spaces[team.rank], team);
  });
  return {epoch.loss, epoch.pairs};
}

inline Loss train_either(const Training& t) { return t.skip_gram ? train<true>(t) : train<false>(t); }

extern const word2vec::Train train_word2vec;
const word2vec::Train train_word2vec = train_either;

}  // namespace fastrnn::FASTRNN_TARGET
