// What the training kernels are asked to do: pointers, sizes and the choices of a run. One call trains one epoch.
#pragma once
#include <stdint.h>

namespace fastrnn::word2vec {

// A sum over the pairs (input, output) that were trained, and how many there were.
struct Loss {
  double sum;
  int64_t pairs;
};

// A column of the alias table: the word of the same number if 32 random bits are at most `keep`, else the other.
struct Alias {
  uint32_t keep, other;
};

struct Training {
  // The corpus: sentence s is ids[offsets[s]] to ids[offsets[s + 1]]. Block b is the sentences block[b] to block[b +
  // 1].
  const int32_t* ids;
  const int64_t* offsets;
  const int64_t* blocks;
  int64_t block_count, longest_block;  // the latter in words, with one more for each sentence

  // The parameters: rows of `width` floats, whole cache lines; what lies beyond vector_size is zero and stays so.
  float *syn0, *syn1, *syn1neg;
  int64_t width;

  bool skip_gram, cbow_mean, shrink_windows, deterministic;
  int window, workers;
  int64_t reach;  // the longest that a window can be to either side: `window`, or less where all sentences are shorter

  const float* lock;  // of each word, see lock.h; null: 1 for all

  // A word stays in the corpus if 32 random bits are at most keep[word].
  const uint32_t* keep;

  // Negative sampling, if negative > 0: Walker's alias table over the words.
  int negative;
  int64_t words;
  const Alias* alias;

  // Hierarchical softmax, if path_offsets is not null: the inner nodes from the root to word w, and which way to turn.
  const int64_t* path_offsets;
  const int32_t* path_nodes;
  const uint8_t* path_codes;
  int longest_path;

  uint64_t key;                   // of the random numbers, from seed and epoch
  double alpha_begin, alpha_end;  // the learning rate falls in a straight line over the epoch

  int64_t* unknown;  // gets the place in `ids` of a number that is no word's, which also stops the training

  // Called by the calling thread now and then, with the words done so far; false stops the training.
  bool (*report)(void* context, int64_t words_done, Loss loss);
  void* context;
};

// How an instruction set trains.
using Train = Loss (*)(const Training&);

// By the instruction set of fastrnn::instruction_set(). Throws std::bad_alloc, and as run_together().
Loss train(const Training& training);

}  // namespace fastrnn::word2vec
