// Counting the words and pairs of neighbours of a corpus that comes in parts, in order, by any number of threads.
//
// A batch of the corpus is read by all threads, each with numbers of its own for the words; these become numbers that
// all share; with them the names are counted (name_counts.h). Nothing of the result depends on which thread did what.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "name_counts.h"
#include "reader.h"

namespace fastrnn::word2vec {

// Words with their numbers, and how often each word and pair was met, by the names that reader.h gives them.
struct PhraseCounts {
  Words words;
  NameCounts names;
  int64_t total_words = 0;
  int64_t position = 0;  // of the next word or pair
  int64_t least = 1;     // what is counted less often is forgotten next

  // Adds what another corpus gave, after all that was there before.
  void add(const PhraseCounts& other);

  // Forgets words that are part of nothing that is counted. The others get new numbers.
  void drop_unused_words();
};

// A sentence that leaves more than max_size words and pairs makes it forget some: the first time those counted less
// than once (none), then less than twice, and so on, as gensim does.
class PhraseCounter {
 public:
  PhraseCounter(const PhraseOptions& options, int threads);

  // `cuts` as cut() makes them.
  void count(std::string_view text, const std::vector<int64_t>& cuts);

  // Or of any kind: read(reader, piece) gives a reader the sentences of one piece.
  using Read = std::function<void(PhraseReader&, int64_t)>;
  void count(int64_t pieces, const Read& read);

  // All counts, after which there is nothing more to count.
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
