// The arguments of the training kernels: pointers, sizes and settings. One call trains one epoch.
#pragma once
#include <stdint.h>

namespace fastrnn::word2vec {

constexpr int line = 16;  // floats in a cache line

// The sum of the loss over the trained pairs (input, output), and their number.
struct Loss {
  double sum;
  int64_t pairs;
};

// An entry of the alias table: the word itself if 32 random bits are at most `keep`, else `other`.
struct Alias {
  uint32_t keep, other;
};

struct Training {
  // The corpus: sentence s is ids[offsets[s]] to ids[offsets[s + 1]]. Block b has the sentences blocks[b] to
  // blocks[b + 1].
  const int32_t* ids;
  const int64_t* offsets;
  const int64_t* blocks;
  int64_t block_count, longest_block;  // longest_block: in words, plus one for each sentence

  // The parameters: rows of `width` floats, which are whole cache lines; beyond vector_size they are and stay zero.
  float *syn0, *syn1, *syn1neg;
  int64_t width;

  bool skip_gram, cbow_mean, shrink_windows, deterministic;
  int window, workers;
  int64_t reach;  // the most context words on a side: `window`, or less if all sentences are shorter

  const float* lock;  // a factor for each word, see lock.h; null: 1 for all

  // Subsampling keeps a word if 32 random bits are at most keep[word].
  const uint32_t* keep;

  // Negative sampling, if negative > 0: Walker's alias table over the words.
  int negative;
  int64_t words;
  const Alias* alias;

  // Hierarchical softmax, if path_offsets is not null: the inner nodes from the root to each word, and the turns.
  const int64_t* path_offsets;
  const int32_t* path_nodes;
  const uint8_t* path_codes;
  int longest_path;

  uint64_t key;                   // of the random numbers, from the seed and the epoch
  double alpha_begin, alpha_end;  // the learning rate changes linearly over the epoch

  int64_t* unknown;  // set to the position in `ids` of an invalid id, which also stops the training

  // Called regularly on the calling thread with the number of words done; returning false stops the training.
  bool (*report)(void* context, int64_t words_done, Loss loss);
  void* context;
};

// The kernel of an instruction set.
using Train = Loss (*)(const Training&);

// Trains with the kernel for fastrnn::instruction_set(). Throws std::bad_alloc, and as run_together().
Loss train(const Training& training);

}  // namespace fastrnn::word2vec
