// Counting the words and pairs of neighbours in a corpus that arrives in parts, in order, with any number of threads.
//
// All threads read a batch of the corpus, each with its own numbers for words. These are then mapped to shared numbers,
// with which the names are counted (name_counts.h). The result does not depend on which thread read what.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "name_counts.h"
#include "reader.h"

namespace fastrnn::word2vec {

// The numbers of words, and the counts of words and pairs by their names (reader.h).
struct PhraseCounts {
  Words words;
  NameCounts names;
  int64_t total_words = 0;
  int64_t position = 0;  // of the next word or pair
  int64_t least = 1;     // next time, names counted less often than this are discarded

  // Adds the counts of another corpus, which comes after this one.
  void add(const PhraseCounts& other);

  // Removes words that are not part of any counted name. The others get new numbers.
  void drop_unused_words();
};

// Whenever a sentence ends with more than max_size words and pairs, some are discarded: the first time those counted
// less than once (none), then less than twice, and so on, as in gensim.
class PhraseCounter {
 public:
  PhraseCounter(const PhraseOptions& options, int threads);

  // `cuts` as cut() makes them.
  void count(std::string_view text, const std::vector<int64_t>& cuts);

  // The same for other sources: read(reader, piece) passes the sentences of one piece to a reader.
  using Read = std::function<void(PhraseReader&, int64_t)>;
  void count(int64_t pieces, const Read& read);

  // All counts. Nothing can be counted afterwards.
  PhraseCounts finish();

 private:
  struct Sentence {
    int reader;
    size_t begin, end;  // in its names
    int64_t place;      // of its first name in the batch
  };

  void gather(int64_t pieces, const Read& read);
  int64_t gathered() const;
  void count_batch();
  void share_words();
  void add(size_t first, size_t last, int64_t step);
  size_t overflowing(size_t first) const;

  const PhraseOptions options_;
  std::vector<PhraseReader> readers_;          // one for each thread
  std::vector<std::vector<uint32_t>> shared_;  // for each reader, the shared numbers of its words
  std::vector<Occurrences> occurrences_;       // for each thread
  std::vector<Sentence> sentences_;            // of the batch, in order
  PhraseCounts counts_;
};

}  // namespace fastrnn::word2vec
