// Training a subsampled block of about 10,000 words, window by window; and the state that workers of an epoch share.
#pragma once
#include <pthread.h>

#include "workspace.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Loss;

struct Epoch {
  const Training& t;
  int64_t next_block = 0, words_done = 0;
  int stop = 0;
  Loss loss{};
  pthread_mutex_t loss_lock = PTHREAD_MUTEX_INITIALIZER;

  explicit Epoch(const Training& training) : t(training) {}

  // The learning rate depends on the position in the corpus alone, so it is the same for any number of workers.
  float alpha(int64_t block) const {
    const int64_t all = t.offsets[t.blocks[t.block_count]] - t.offsets[0];
    const double progress = double(t.offsets[t.blocks[block]] - t.offsets[0]) / double(larger(all, 1));
    return float(t.alpha_begin + (t.alpha_end - t.alpha_begin) * progress);
  }
  void done(int64_t block, Loss part) {
    const int64_t words = t.offsets[t.blocks[block + 1]] - t.offsets[t.blocks[block]];
    __atomic_add_fetch(&words_done, words, __ATOMIC_RELAXED);
    add(part);
  }
  void report() {
    if (!t.report(t.context, __atomic_load_n(&words_done, __ATOMIC_RELAXED), add({})))
      __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  }
  bool stopped() const { return __atomic_load_n(&stop, __ATOMIC_RELAXED); }

  // Draws the words of a block. An invalid id is skipped and stops the training.
  void draw(int64_t block, Drawn& drawn) {
    draw_words(t, block, drawn);
    if (drawn.unknown < 0) return;
    __atomic_store_n(t.unknown, drawn.unknown, __ATOMIC_RELAXED);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  }

 private:
  // Adds to the loss and returns the sum.
  Loss add(Loss part) {
    pthread_mutex_lock(&loss_lock);
    loss.sum += part.sum, loss.pairs += part.pairs;
    const Loss sum = loss;
    pthread_mutex_unlock(&loss_lock);
    return sum;
  }
};

// Trains window i of the block in a workspace, and chooses the rows of window i + windows_ahead. Call it for
// consecutive i, starting at -windows_ahead. Negatives that were not drawn yet are drawn here, which is faster than
// drawing all of them first.
template <bool skip_gram, bool negatives_drawn>
inline void train_window(const Training& t, Workspace& space, float alpha, int64_t i, Loss& loss) {
  // A new window is chosen before the oldest is trained.
  Window& later = space.window[(i + windows_ahead) % (windows_ahead + 1)];
  if (i + windows_ahead < space.drawn.count) {
    if (!negatives_drawn) draw_negatives(t, space.drawn, i + windows_ahead);
    choose_rows(t, space.drawn, i + windows_ahead, later);
  } else {
    later.outputs = later.contexts = 0;
  }
  if (i < 0) return fetch(later, 0, t.width);
  const Window& w = space.window[i % (windows_ahead + 1)];
  if (t.lock) copy_locked<skip_gram>(t, w, space.locked);
  multiply<skip_gram>(t, w, space.products);
  loss.sum += loss_and_steps<skip_gram>(alpha, w, space.products);
  update<skip_gram>(t, w, later, space.products);
  if (t.lock) move_locked<skip_gram>(t, w, space.locked);
  loss.pairs += skip_gram ? w.contexts : w.inputs;
}

}  // namespace fastrnn::FASTRNN_TARGET
