// An epoch: blocks of about 10,000 words, each subsampled and then trained window by window.
#include "../cpu/threads.h"
#include "training_batch.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Loss;

// How many windows ahead of its turn a window's rows are asked for. CBOW 1.3 times as fast as
// with the rows of eight windows asked for at once, before the first of them is trained.
constexpr int windows_ahead = 8;

// What all workers of an epoch share.
struct Epoch {
  const Training& t;
  int64_t next_block = 0, words_done = 0;
  int stopped = 0;
  double loss = 0;
  int64_t pairs = 0;

  explicit Epoch(const Training& training) : t(training) {}

  // The rate depends on the place in the corpus, not on who is how far, so it is the same for any number of workers.
  float alpha(int64_t block) const {
    const int64_t all = t.offsets[t.blocks[t.block_count]] - t.offsets[0];
    const double progress = double(t.offsets[t.blocks[block]] - t.offsets[0]) / double(larger(all, 1));
    return float(t.alpha_begin + (t.alpha_end - t.alpha_begin) * progress);
  }
  void report() {
    if (!t.report(t.context, __atomic_load_n(&words_done, __ATOMIC_RELAXED), Loss{loss, pairs}))
      __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
  }
};

// Subsamples the sentences of a block, with a word -1 before and after each. Returns how many words that makes without
// the first.
inline int64_t subsample_block(const Training& t, int64_t block, Batch& batch) {
  Kept* kept = batch.kept + 1;
  kept[-1].word = -1;
  int64_t count = 0;
  for (int64_t s = t.blocks[block]; s < t.blocks[block + 1]; ++s) {
    count += subsample(t, t.offsets[s], t.offsets[s + 1], kept + count);
    kept[count++].word = -1;
  }
  return count;
}

// Hogwild (Niu et al., arXiv:1106.5730): every worker takes the next block and writes to the shared rows without locks.
template <bool skip_gram>
inline void train_without_locks(Epoch& epoch, Batch& batch, const Team& team) {
  const Training& t = epoch.t;
  while (!__atomic_load_n(&epoch.stopped, __ATOMIC_RELAXED)) {
    const int64_t block = __atomic_fetch_add(&epoch.next_block, 1, __ATOMIC_RELAXED);
    if (block >= t.block_count) return;
    const float alpha = epoch.alpha(block);
    const int64_t count = subsample_block(t, block, batch);
    const Kept* kept = batch.kept + 1;
    double loss = 0;
    int64_t pairs = 0;
    for (int64_t i = -windows_ahead; i < count; ++i) {
      // One more than those that wait: a new window is chosen before the oldest is trained.
      Window& later = batch.window[(i + windows_ahead) % (windows_ahead + 1)];
      if (i + windows_ahead < count)
        choose_rows(t, kept + i + windows_ahead, later);
      else
        later.outputs = later.contexts = 0;
      if (i < 0) {
        fetch(later, 0, t.width);
        continue;
      }
      Window& w = batch.window[i % (windows_ahead + 1)];
      multiply<skip_gram>(t, w, 0, 0, t.width);
      judge<skip_gram, 1>(alpha, w);
      update<skip_gram>(t, w, later, batch.before, 0, t.width);
      loss += w.loss;
      pairs += skip_gram ? w.contexts : w.inputs;
    }
    const int64_t words = t.offsets[t.blocks[block + 1]] - t.offsets[t.blocks[block]];
    __atomic_add_fetch(&epoch.words_done, words, __ATOMIC_RELAXED);
#pragma omp critical(fastrnn_word2vec_loss)
    epoch.loss += loss, epoch.pairs += pairs;
    if (team.rank == 0) epoch.report();
  }
}

// The same bits for any number of workers. A whole team works at a batch of windows, each worker at its share of the
// columns: the dot products of both halves of them, all with the parameters from before the batch; then, window after
// window, the update. So every number is computed from the same numbers in the same order. What the columns do not
// divide (which rows, and the steps from the dot products) each worker does for itself: that takes less than fetching
// it from another's cache. With two workers nothing but dot products moves between them.
template <bool skip_gram>
inline void train_in_order(Epoch& epoch, Batch& batch, const Batch& first_batch, const Team& team) {
  const Training& t = epoch.t;
  const int64_t size = t.windows_in_order, lines = t.width / line;
  const Range mine = {team.share(lines).begin * line, team.share(lines).end * line};
  // What one worker computes for the others: the dot products, and columns of CBOW's mean.
  for (int64_t i = 0; i < 2 * size; ++i) {
    Window& w = batch.window[i];
    for (int half = 0; half < 2; ++half) w.dots[half] = first_batch.window[i].dots[half];
    w.hidden = first_batch.window[i].hidden;
    if (!skip_gram) w.input[0] = w.hidden;
  }
  Window none{};
  for (int64_t block = 0; block < t.block_count; ++block) {
    const int64_t count = subsample_block(t, block, batch);
    const Kept* kept = batch.kept + 1;
    const float alpha = epoch.alpha(block);
    // Of the batch that is trained and the one after it.
    const auto window = [&](int64_t i) -> Window& { return batch.window[i % (2 * size)]; };
    for (int64_t i = 0; i < smaller(size, count); ++i) choose_rows(t, kept + i, window(i));
    for (int64_t begin = 0; begin < count; begin += size) {
      const int64_t end = smaller(begin + size, count);
      const Range tasks = team.share(2 * (end - begin));
      for (int64_t task = tasks.begin; task < tasks.end; ++task) {
        const int half = task >= end - begin;
        multiply<skip_gram>(t, window(begin + task - half * (end - begin)), half, lines * half / 2 * line,
                            lines * (half + 1) / 2 * line);
      }
      team.meet();
      for (int64_t i = begin; i < end; ++i) {
        if (i + size < count) choose_rows(t, kept + i + size, window(i + size));
        judge<skip_gram, 2>(alpha, window(i));
        update<skip_gram>(t, window(i), i + size < count ? window(i + size) : none, batch.before, mine.begin, mine.end);
        if (team.rank > 0) continue;
        epoch.loss += window(i).loss;
        epoch.pairs += skip_gram ? window(i).contexts : window(i).inputs;
      }
      if (team.size > 2) team.meet();  // two multiply the very columns that they have updated
    }
    if (team.rank == 0) {
      epoch.words_done += t.offsets[t.blocks[block + 1]] - t.offsets[t.blocks[block]];
      epoch.report();
    }
    team.meet();
    if (__atomic_load_n(&epoch.stopped, __ATOMIC_RELAXED)) return;
  }
}

template <bool skip_gram>
inline Loss train(const Training& t) {
  Epoch epoch(t);
  Batches all(t.workers);
  for (int i = 0; i < t.workers; ++i) all.emplace(t, t.deterministic ? 2 * t.windows_in_order : windows_ahead + 1);
  parallel(t.workers, [&](const Team& team) {
    if (t.deterministic)
      train_in_order<skip_gram>(epoch, all[team.rank], all[0], team);
    else
      train_without_locks<skip_gram>(epoch, all[team.rank], team);
  });
  return {epoch.loss, epoch.pairs};
}

inline Loss train_either(const Training& t) { return t.skip_gram ? train<true>(t) : train<false>(t); }

extern const word2vec::Train train_word2vec;
const word2vec::Train train_word2vec = train_either;

}  // namespace fastrnn::FASTRNN_TARGET
