// An epoch: blocks of about 10,000 words, each subsampled and then trained window by window.
#include "../cpu/threads.h"
#include "training_batch.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Loss;

// Windows whose rows are asked for before the first of them is trained. Skip-gram 3.22 M words/s; 4: 2.93.
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

// Subsamples the sentences begin to end, with a word -1 after each.
inline int64_t subsample_sentences(const Training& t, int64_t begin, int64_t end, Kept* kept) {
  int64_t count = 0;
  for (int64_t s = begin; s < end; ++s) {
    count += subsample(t, t.offsets[s], t.offsets[s + 1], kept + count);
    kept[count++].word = -1;
  }
  return count;
}

// Hogwild (Niu et al., arXiv:1106.5730): every worker takes the next block and writes to the shared rows without locks.
inline void train_without_locks(Epoch& epoch, Batch& batch, const Team& team) {
  const Training& t = epoch.t;
  while (!__atomic_load_n(&epoch.stopped, __ATOMIC_RELAXED)) {
    const int64_t block = __atomic_fetch_add(&epoch.next_block, 1, __ATOMIC_RELAXED);
    if (block >= t.block_count) return;
    const float alpha = epoch.alpha(block);
    Kept* kept = batch.kept + 1;
    kept[-1].word = -1;
    const int64_t count = subsample_sentences(t, t.blocks[block], t.blocks[block + 1], kept);
    double loss = 0;
    int64_t pairs = 0;
    for (int64_t first = 0; first < count; first += batch.capacity) {
      const int windows = int(smaller(batch.capacity, count - first));
      for (int i = 0; i < windows; ++i) choose_rows(t, kept + first + i, batch.window[i]);
      for (int i = 0; i < windows; ++i) {
        Window& w = batch.window[i];
        compare(t, alpha, w);
        update(t, w, batch.scratch, 0, t.width);
        loss += w.loss;
        pairs += t.skip_gram ? w.contexts : w.inputs;
      }
    }
    const int64_t words = t.offsets[t.blocks[block + 1]] - t.offsets[t.blocks[block]];
    __atomic_add_fetch(&epoch.words_done, words, __ATOMIC_RELAXED);
#pragma omp critical(fastrnn_word2vec_loss)
    epoch.loss += loss, epoch.pairs += pairs;
    if (team.rank == 0) epoch.report();
  }
}

// The same bits for any number of workers. A whole team works at a batch of windows: first each compares its share of
// the windows, all with the parameters as they were before the batch; then each brings its share of the columns up to
// date, window after window. So every number is computed from the same numbers in the same order.
inline void train_in_order(Epoch& epoch, Batch& batch, const Team& team) {
  const Training& t = epoch.t;
  float** scratch = batch.scratch + team.rank * batch.scratch_rows;
  const Range lines = team.share(t.width / 16);
  for (int64_t block = 0; block < t.block_count; ++block) {
    // Each subsamples a share of the sentences where it lies; then the pieces are moved together.
    const int64_t first_sentence = t.blocks[block], sentences = t.blocks[block + 1] - first_sentence;
    const Range share = team.share(sentences);
    const int64_t begin = first_sentence + share.begin,
                  start = t.offsets[begin] - t.offsets[first_sentence] + share.begin;
    batch.counts[team.rank] = subsample_sentences(t, begin, first_sentence + share.end, batch.kept + start);
    team.meet();
    int64_t before = 0, count = 0;
    for (int rank = 0; rank < team.size; ++rank) {
      if (rank == team.rank) before = count;
      count += batch.counts[rank];
    }
    Kept* kept = batch.gathered + 1;
    __builtin_memcpy(kept + before, batch.kept + start, batch.counts[team.rank] * sizeof(Kept));
    if (team.rank == 0) kept[-1].word = -1;
    team.meet();

    const float alpha = epoch.alpha(block);
    for (int64_t first = 0; first < count; first += batch.capacity) {
      const int windows = int(smaller(batch.capacity, count - first));
      const Range mine = team.share(windows);
      for (int64_t i = mine.begin; i < mine.end; ++i) choose_rows(t, kept + first + i, batch.window[i]);
      for (int64_t i = mine.begin; i < mine.end; ++i) compare(t, alpha, batch.window[i]);
      team.meet();
      for (int i = 0; i < windows; ++i) {
        // Other workers have had these rows: 2.15 M words/s instead of 1.59 without asking for them early.
        if (i + 4 < windows) fetch_columns(batch.window[i + 4], lines.begin * 16, lines.size() * 16);
        update(t, batch.window[i], scratch, lines.begin * 16, lines.end * 16);
      }
      if (team.rank == 0)
        for (int i = 0; i < windows; ++i) {
          epoch.loss += batch.window[i].loss;
          epoch.pairs += t.skip_gram ? batch.window[i].contexts : batch.window[i].inputs;
        }
      team.meet();
    }
    if (team.rank == 0) {
      epoch.words_done += t.offsets[first_sentence + sentences] - t.offsets[first_sentence];
      epoch.report();
    }
    team.meet();
    if (__atomic_load_n(&epoch.stopped, __ATOMIC_RELAXED)) return;
  }
}

inline Loss train(const Training& t) {
  Epoch epoch(t);
  const int batches = t.deterministic ? 1 : t.workers;
  Batches all(batches);
  for (int i = 0; i < batches; ++i)
    all.emplace(t, t.deterministic ? t.windows_in_order : windows_ahead, t.deterministic ? t.workers : 1);
  parallel(t.workers, [&](const Team& team) {
    if (t.deterministic)
      train_in_order(epoch, all[0], team);
    else
      train_without_locks(epoch, all[team.rank], team);
  });
  return {epoch.loss, epoch.pairs};
}

extern const word2vec::Train train_word2vec;
const word2vec::Train train_word2vec = train;

}  // namespace fastrnn::FASTRNN_TARGET
