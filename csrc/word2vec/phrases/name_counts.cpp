#include "name_counts.h"

#include <algorithm>

#include "../corpus/text.h"

namespace fastrnn::word2vec {

namespace {

// Each batch reads a part of the table from memory once, so prefetch it.
constexpr size_t kAhead = 16;

}  // namespace

void NameCounts::add(Pair name, int64_t count, int64_t first) {
  if (name.left == kNone) return add_word(name.right, count, first);
  PairTable& table = part(name);
  const int64_t before = table.size();
  table.add(name, count, first);
  size_ += table.size() - before;
}

void NameCounts::add_word(uint32_t id, int64_t count, int64_t first) {
  if (id >= words_.size()) words_.resize(id + 1);
  PairCount& word = words_[id];
  if (word.first < 0) {
    word = {{kNone, id}, 0, first};
    ++size_;
  }
  word.count += count;
  word.first = std::min(word.first, first);
}

void NameCounts::add(std::vector<Occurrences>& occurrences, int64_t position, int64_t step, int threads) {
  for (Occurrences& each : occurrences)
    for (uint32_t id = 0; id < each.words_.size(); ++id) {
      Occurrences::Word& word = each.words_[id];
      if (word.count > 0) add_word(id, step * word.count, position + word.first);
      word.count = 0;
    }
  for_each_piece(threads, PairTable::kParts, [&](int, int64_t part) {
    PairTable& table = pairs_[part];
    for (Occurrences& each : occurrences) {
      std::vector<Occurrences::PairAt>& all = each.pairs_[part];
      for (size_t i = 0; i < all.size(); ++i) {
        if (i + kAhead < all.size()) table.prefetch(hash(all[i + kAhead].pair));
        table.add(all[i].pair, step, position + all[i].place);
      }
      all.clear();
    }
  });
  count_names();
}

void NameCounts::prune(int64_t count) {
  for (PairCount& word : words_)
    if (word.count < count) word = {};
  for (PairTable& part : pairs_) {
    PairTable kept;
    part.for_each([&](const PairCount& slot) {
      if (slot.count >= count) kept.add(slot.pair, slot.count, slot.first);
    });
    part = std::move(kept);
  }
  count_names();
}

void NameCounts::count_names() {
  size_ = std::count_if(words_.begin(), words_.end(), [](const PairCount& word) { return word.first >= 0; });
  for (const PairTable& part : pairs_) size_ += part.size();
}

}  // namespace fastrnn::word2vec
