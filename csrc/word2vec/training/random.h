// Random choices that depend only on the seed, the epoch and the position in the corpus, so they are the same for any
// number of workers. fastrnn/word2vec/training/sampling.py makes the same choices in numpy.
//
// A word's random number is the output of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number
// generators, 2014) at its position in the corpus. Its negatives are the outputs of a SplitMix64 with this number as
// seed.
#pragma once
#include "../../cpu/vec.h"
#include "train.h"

namespace fastrnn::FASTRNN_TARGET {

using word2vec::Training;

FASTRNN_INLINE uint64_t split_mix(uint64_t state, uint64_t step) {
  uint64_t z = state + (step + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// What is drawn for a block of sentences: the words that subsampling keeps, with a word -1 before and after each
// sentence, the random number of each word, and its negatives.
struct Drawn {
  int64_t count;  // number of words, without the first -1
  int32_t* word;
  uint64_t* random;
  int32_t* negative;                      // count x negative
  int32_t *after_context, *after_output;  // found by Conflicts
  int64_t unknown;                        // the position in the corpus of an invalid id, or -1

  // The last window of another worker that must be trained before window i, or -1.
  int32_t after(int64_t i) const { return after_context[i] > after_output[i] ? after_context[i] : after_output[i]; }
};

// Mikolov et al., arXiv:1310.4546, section 2.3. Uses the low half of the random number; the high half is for the
// window.
inline void subsample(const Training& t, int64_t begin, int64_t end, Drawn& drawn) {
  int64_t count = drawn.count;
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t random = split_mix(t.key, i);
    const int32_t word = t.ids[i];
    if (uint32_t(word) >= uint32_t(t.words)) {
      drawn.unknown = i;
      continue;
    }
    drawn.word[count] = word;
    drawn.random[count] = random;
    count += uint32_t(random) <= t.keep[word];
  }
  drawn.count = count;
}

FASTRNN_INLINE int reach_of(const Training& t, uint64_t random) {
  return t.shrink_windows ? 1 + int((random >> 32) * t.window >> 32) : t.window;
}

// How many words ahead a word's entries of the alias table are prefetched. The table is larger than the first caches,
// and training keeps the memory queue full, so a load from it takes long.
constexpr int negatives_ahead = 4;

// Draws the negatives of word i. Call it for consecutive words.
FASTRNN_INLINE void draw_negatives(const Training& t, Drawn& drawn, int64_t i) {
  const auto column = [&](uint64_t draw) { return uint32_t(draw) * uint64_t(t.words) >> 32; };
  for (int n = 0; n < t.negative; ++n) {
    __builtin_prefetch(t.alias + column(split_mix(drawn.random[i + negatives_ahead], n)));
    const uint64_t draw = split_mix(drawn.random[i], n);
    const word2vec::Alias alias = t.alias[column(draw)];
    // Without a branch, which would wait for the table and be mispredicted half the time.
    const uint32_t stays = -uint32_t(uint32_t(draw >> 32) <= alias.keep);
    drawn.negative[i * t.negative + n] = int32_t((uint32_t(column(draw)) & stays) | (alias.other & ~stays));
  }
}

// Draws the words of a block, without their negatives.
inline void draw_words(const Training& t, int64_t block, Drawn& drawn) {
  drawn.word[-1] = -1;
  drawn.count = 0;
  drawn.unknown = -1;
  for (int64_t s = t.blocks[block]; s < t.blocks[block + 1]; ++s) {
    subsample(t, t.offsets[s], t.offsets[s + 1], drawn);
    drawn.word[drawn.count++] = -1;
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
