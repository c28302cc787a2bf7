// A hash table from pairs of numbers to their counts. Large counts use 256 of them, see name_counts.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fastrnn::word2vec {

constexpr uint32_t kNone = UINT32_MAX;  // no number

struct Pair {
  uint32_t left, right;
  bool operator==(const Pair& other) const { return left == other.left && right == other.right; }
};

// How often a pair occurred, and where it occurred first.
struct PairCount {
  Pair pair;
  int64_t count;
  int64_t first = -1;  // -1: a free slot
};

inline uint64_t hash(Pair pair) {  // Fibonacci hashing: the high bits are well mixed
  const uint64_t key = uint64_t{pair.left} << 32 | pair.right;
  return (key ^ key >> 29) * 0x9E3779B97F4A7C15;
}

// Linear probing, at most three quarters full.
class PairTable {
 public:
  static constexpr int kPartBits = 8, kParts = 1 << kPartBits;
  static int part(uint64_t hash) { return int(hash >> (64 - kPartBits)); }

  PairTable() : slots_(kFirstSlots) {}

  // Null if the pair is not in the table.
  const PairCount* find(Pair pair) const {
    const PairCount& slot = slots_[place(pair)];
    return slot.first < 0 ? nullptr : &slot;
  }

  // Adds to the pair's count, which starts at 0, and keeps the earliest position.
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

  // Prefetch for a pair with this hash that is about to be looked up.
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
  int shift_ = 64 - 3;  // the next bits of the hash choose the slot
  int64_t size_ = 0;
};

}  // namespace fastrnn::word2vec
