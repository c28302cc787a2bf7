// Counting many millions of names (see reader.h), which need far more memory than any cache has.
//
// Half of the names are single words; these are counted in an array, by the number of the word. For pairs, one large
// hash table would wait for memory at each access. So there are 256 tables, each for a part of the hashes: pairs are
// first sorted by part, then each part is counted by one thread, in cache (the radix partitioning of database joins:
// Manegold, Boncz and Kersten, 2002, "Optimizing main-memory join on modern hardware", section 3).
#pragma once
#include <cstdint>
#include <vector>

#include "pair_table.h"

namespace fastrnn::word2vec {

// The names that a thread has read in a text of fewer than 2^32 names, with their positions in it.
class Occurrences {
 public:
  Occurrences() : pairs_(PairTable::kParts) {}

  // Makes room for words with numbers below this.
  void expect(uint32_t words) { words_.resize(words); }
  void add(Pair name, uint32_t place) {
    if (name.left != kNone) {
      pairs_[PairTable::part(hash(name))].push_back({name, place});
    } else if (Word& word = words_[name.right]; word.count++ == 0) {
      word.first = place;
    }
  }

 private:
  friend class NameCounts;
  struct Word {
    uint32_t count = 0, first;
  };
  struct PairAt {
    Pair pair;
    uint32_t place;
  };
  std::vector<Word> words_;                 // by their numbers
  std::vector<std::vector<PairAt>> pairs_;  // by parts of their hashes
};

class NameCounts {
 public:
  NameCounts() : pairs_(PairTable::kParts) {}

  // Null if the name was not counted.
  const PairCount* find(Pair name) const {
    if (name.left != kNone) return part(name).find(name);
    return name.right < words_.size() && words_[name.right].first >= 0 ? &words_[name.right] : nullptr;
  }

  // Adds to a name's count and keeps the earliest position.
  void add(Pair name, int64_t count, int64_t first);

  // Adds `step` for each occurrence, at its place + position. Clears `occurrences`.
  void add(std::vector<Occurrences>& occurrences, int64_t position, int64_t step, int threads);

  // The number of distinct names.
  int64_t size() const { return size_; }

  // Removes every name that was counted less than `count` times.
  void prune(int64_t count);

  // Calls use(const PairCount&) for each.
  template <class Use>
  void for_each(Use&& use) const {
    for (const PairCount& word : words_)
      if (word.first >= 0) use(word);
    for (const PairTable& part : pairs_) part.for_each(use);
  }

 private:
  PairTable& part(Pair name) { return pairs_[PairTable::part(hash(name))]; }
  const PairTable& part(Pair name) const { return pairs_[PairTable::part(hash(name))]; }

  std::vector<PairCount> words_;  // by their numbers
  std::vector<PairTable> pairs_;
  int64_t size_ = 0;

  void add_word(uint32_t id, int64_t count, int64_t first);
  void count_names();
};

}  // namespace fastrnn::word2vec
