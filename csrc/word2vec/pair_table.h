// Counting pairs of numbers, many millions of them, in memory that is far larger than any cache.
//
// A hash table that is probed at random waits for memory at each step. So the table is 256 tables, each for a part of
// the hashes; what is to be counted is first sorted by these parts, and then counted a part at a time, in cache, each
// part by one thread (the radix partitioning of database joins: Manegold, Boncz and Kersten, 2002, "Optimizing
// main-memory join on modern hardware", section 3).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastrnn::word2vec {

struct Pair {
  uint32_t left, right;
  bool operator==(const Pair& other) const { return left == other.left && right == other.right; }
};

// How often a pair was met, and where first.
struct PairCount {
  Pair pair;
  int64_t count;
  int64_t first = -1;  // -1: a free slot
};

inline uint64_t hash(Pair pair) {  // Fibonacci hashing: the high bits are the good ones
  const uint64_t key = uint64_t{pair.left} << 32 | pair.right;
  return (key ^ key >> 29) * 0x9E3779B97F4A7C15;
}

// From pairs to their counts: linear probing, at most three quarters full.
class PairTable {
 public:
  static constexpr int kPartBits = 8, kParts = 1 << kPartBits;
  static int part(uint64_t hash) { return int(hash >> (64 - kPartBits)); }

  PairTable() : slots_(kFirstSlots) {}

  // Null where the pair is not in the table.
  const PairCount* find(Pair pair) const {
    const PairCount& slot = slots_[place(pair)];
    return slot.first < 0 ? nullptr : &slot;
  }

  // Adds to the pair's count, which begins as 0; of the places where it was met, the first is kept.
  void add(Pair pair, int64_t count, int64_t first) {
    PairCount* slot = &slots_[place(pair)];
    if (slot->first < 0) {
      *slot = {pair, 0, first};
      if (++size_ * 4 > int64_t(slots_.size()) * 3) {
        grow();
        slot = &slots_[place(pair)];
      }
    }
    slot->count += count;
    if (first < slot->first) slot->first = first;
  }

  // A hint that the pair with this hash is about to be looked up.
  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[start(hash)], 1); }

  int64_t size() const { return size_; }

  template <class Use>
  void for_each(Use&& use) const {
    for (const PairCount& slot : slots_)
      if (slot.first >= 0) use(slot);
  }

 private:
  static constexpr size_t kFirstSlots = 8;

  size_t start(uint64_t hash) const { return (hash << kPartBits) >> shift_; }
  size_t place(Pair pair) const {
    const size_t mask = slots_.size() - 1;
    size_t i = start(hash(pair));
    while (slots_[i].first >= 0 && !(slots_[i].pair == pair)) i = (i + 1) & mask;
    return i;
  }
  void grow();

  std::vector<PairCount> slots_;
  int shift_ = 64 - 3;  // so that the hash's next bits choose the slot
  int64_t size_ = 0;
};

// One occurrence of a pair, of a text of fewer than 2^32 of them.
struct Occurrence {
  Pair pair;
  uint32_t place;
};

// Occurrences, sorted by the parts of their hashes.
using Partitioned = std::vector<std::vector<Occurrence>>;

class PairCounts {
 public:
  PairCounts() : parts_(PairTable::kParts) {}

  const PairCount* find(Pair pair) const { return parts_[PairTable::part(hash(pair))].find(pair); }
  void add(Pair pair, int64_t count, int64_t first) { parts_[PairTable::part(hash(pair))].add(pair, count, first); }

  // Adds `step` for each occurrence, which begins at place + position. Empties what it was given.
  void add(std::vector<Partitioned>& occurrences, int64_t position, int64_t step, int threads);

  int64_t size() const;

  // Forgets every pair that was counted less than `count` times.
  void prune(int64_t count);

  // Calls use(const PairCount&) for each.
  template <class Use>
  void for_each(Use&& use) const {
    for (const PairTable& part : parts_) part.for_each(use);
  }
  const std::vector<PairTable>& parts() const { return parts_; }

 private:
  std::vector<PairTable> parts_;
};

}  // namespace fastrnn::word2vec
