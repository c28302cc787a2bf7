// Counting names (see reader.h), many millions of them, in memory that is far larger than any cache.
//
// Half of them are words, pairs of no word and one: these are counted by their number. Of the others a hash table that
// is probed at random waits for memory at each step. So it is 256 tables, each for a part of the hashes; what is to be
// counted is first sorted by these parts, and then counted a part at a time, in cache, each part by one thread (the
// radix partitioning of database joins: Manegold, Boncz and Kersten, 2002, "Optimizing main-memory join on modern
// hardware", section 3).
#pragma once
#include <cstdint>
#include <vector>

#include "pair_table.h"

namespace fastrnn::word2vec {

// Names that a thread has met in a text of fewer than 2^32 of them, from its beginning on.
class Occurrences {
 public:
  Occurrences() : pairs_(PairTable::kParts) {}

  // Of words whose numbers are below this.
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
  struct Met {
    Pair pair;
    uint32_t place;
  };
  std::vector<Word> words_;              // by their numbers
  std::vector<std::vector<Met>> pairs_;  // by the parts of their hashes
};

class NameCounts {
 public:
  NameCounts() : pairs_(PairTable::kParts) {}

  // Null for a name that is not counted.
  const PairCount* find(Pair name) const {
    if (name.left != kNone) return part(name).find(name);
    return name.right < words_.size() && words_[name.right].first >= 0 ? &words_[name.right] : nullptr;
  }

  // Adds to a name's count; of the places where it was met, the first is kept.
  void add(Pair name, int64_t count, int64_t first);

  // Adds `step` for each occurrence, which is at place + position. Empties what it was given.
  void add(std::vector<Occurrences>& occurrences, int64_t position, int64_t step, int threads);

  // How many names are counted.
  int64_t size() const { return size_; }

  // Forgets every name that was counted less than `count` times.
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
