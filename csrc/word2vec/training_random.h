// Random choices that depend on nothing but the seed, the epoch and the place in the corpus, so they are the same for
// any number of workers. fastrnn/word2vec/sampling.py makes the same ones in numpy.
//
// A word's first number is the output of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
// generators, 2014) at its place in the corpus; its negatives are the outputs of a SplitMix64 that starts there.
#pragma once
#include "../cpu/vec.h"
#include "training.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Training;

FASTRNN_INLINE uint64_t split_mix(uint64_t state, uint64_t step) {
  uint64_t z = state + (step + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// A word that survived subsampling, and its random number. Sentences are divided by a word -1.
struct Kept {
  int64_t word;
  uint64_t random;
};

// Mikolov et al., arXiv:1310.4546, section 2.3. The low half of the random number decides; the high one is for the
// window. Returns how many were kept of ids[begin] to ids[end].
inline int64_t subsample(const Training& t, int64_t begin, int64_t end, Kept* kept) {
  int64_t count = 0;
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t random = split_mix(t.key, i);
    kept[count] = {t.ids[i], random};
    count += uint32_t(random) <= t.keep[t.ids[i]];
  }
  return count;
}

FASTRNN_INLINE int reach_of(const Training& t, uint64_t random) {
  return t.shrink_windows ? 1 + int((random >> 32) * t.window >> 32) : t.window;
}

FASTRNN_INLINE int64_t column_of(const Training& t, uint64_t draw) { return uint32_t(draw) * uint64_t(t.words) >> 32; }

// The alias table is larger than the nearest caches, and the rows' own fetching leaves a load from it long in the
// queue: it took a sixth of the time.
FASTRNN_INLINE void fetch_negatives(const Training& t, uint64_t random) {
  for (int n = 0; n < t.negative; ++n) __builtin_prefetch(t.alias + column_of(t, split_mix(random, n)));
}

FASTRNN_INLINE int64_t negative_of(const Training& t, uint64_t random, int n) {
  const uint64_t draw = split_mix(random, n);
  const int64_t column = column_of(t, draw);
  // Without a branch, which would wait for the table and then be wrong half the time.
  const word2vec::Alias alias = t.alias[column];
  const int64_t stays = -int64_t(uint32_t(draw >> 32) <= alias.keep);
  return (column & stays) | (int64_t(alias.other) & ~stays);
}

}  // namespace fastrnn::FASTRNN_TARGET
