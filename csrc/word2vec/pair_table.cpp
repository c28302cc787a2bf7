#include "pair_table.h"

#include "corpus.h"

namespace fastrnn::word2vec {

namespace {

// A part of the table is fetched from memory once for every batch, so fetch ahead.
constexpr size_t kAhead = 16;

}  // namespace

void PairTable::grow() {
  std::vector<PairCount> old(slots_.size() * 2);
  old.swap(slots_);
  --shift_;
  for (const PairCount& slot : old)
    if (slot.first >= 0) slots_[place(slot.pair)] = slot;
}

void PairCounts::add(std::vector<Partitioned>& occurrences, int64_t position, int64_t step, int threads) {
  for_each_piece(threads, PairTable::kParts, [&](int, int64_t part) {
    PairTable& table = parts_[part];
    for (Partitioned& partitioned : occurrences) {
      std::vector<Occurrence>& all = partitioned[part];
      for (size_t i = 0; i < all.size(); ++i) {
        if (i + kAhead < all.size()) table.prefetch(hash(all[i + kAhead].pair));
        table.add(all[i].pair, step, position + all[i].place);
      }
      all.clear();
    }
  });
}

int64_t PairCounts::size() const {
  int64_t size = 0;
  for (const PairTable& part : parts_) size += part.size();
  return size;
}

void PairCounts::prune(int64_t count) {
  for (PairTable& part : parts_) {
    PairTable kept;
    part.for_each([&](const PairCount& slot) {
      if (slot.count >= count) kept.add(slot.pair, slot.count, slot.first);
    });
    part = std::move(kept);
  }
}

}  // namespace fastrnn::word2vec
