#include "vocabulary.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../worker_threads.h"

namespace fastrnn::word2vec {

namespace {

constexpr size_t kFirstSlots = 1 << 10;
constexpr size_t kBlock = 1 << 20;

}  // namespace

WordTable::WordTable() : slots_(kFirstSlots), mask_(kFirstSlots - 1) {}

Entry& WordTable::at(std::string_view text, int64_t first, uint64_t hash) {
  uint64_t i = hash & mask_;
  for (;; i = (i + 1) & mask_) {
    const Slot& slot = slots_[i];
    if (!slot.entry) break;
    if (slot.hash == hash && slot.entry->text() == text) return *slot.entry;
  }
  Entry* entry = make(text, first);
  slots_[i] = {hash, entry};
  if (++size_ * 2 > int64_t(slots_.size())) grow();
  return *entry;
}

Entry* WordTable::find_bytes(std::string_view bytes) const {
  Entry* entry = find(bytes);
  return entry || is_utf8(bytes) ? entry : find(replace_invalid(bytes));
}

Entry& WordTable::at_bytes(std::string_view bytes, int64_t first) {
  const uint64_t key = hash(bytes);
  if (Entry* entry = find(bytes, key)) return *entry;
  return is_utf8(bytes) ? at(bytes, first, key) : at(replace_invalid(bytes), first);
}

void WordTable::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  mask_ = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (!slot.entry) continue;
    uint64_t i = slot.hash & mask_;
    while (slots_[i].entry) i = (i + 1) & mask_;
    slots_[i] = slot;
  }
}

Entry* WordTable::make(std::string_view text, int64_t first) {
  if (text.size() > kLongestWord)
    throw std::invalid_argument("a word may have at most " + std::to_string(kLongestWord) + " bytes, got " +
                                std::to_string(text.size()));
  const size_t needed = (sizeof(Entry) + text.size() + alignof(Entry) - 1) / alignof(Entry) * alignof(Entry);
  if (needed > left_) {
    left_ = std::max(kBlock, needed);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(left_));
    free_ = blocks_.back().get();
  }
  Entry* entry = new (free_) Entry{0, first, uint32_t(text.size())};
  memcpy(free_ + sizeof(Entry), text.data(), text.size());
  free_ += needed;
  left_ -= needed;
  return entry;
}

std::vector<const Entry*> WordTable::entries() const {
  std::vector<const Entry*> all;
  all.reserve(size_);
  for (const Slot& slot : slots_)
    if (slot.entry) all.push_back(slot.entry);
  std::sort(all.begin(), all.end(), [](const Entry* a, const Entry* b) { return a->first < b->first; });
  return all;
}

void WordTable::prune(int64_t count) {
  WordTable kept;
  for (const Slot& slot : slots_)
    if (slot.entry && slot.entry->count >= count)
      kept.at(slot.entry->text(), slot.entry->first, slot.hash).count = slot.entry->count;
  *this = std::move(kept);
}

void WordTable::add(const WordTable& other) {
  for (const Slot& slot : other.slots_) {
    if (!slot.entry) continue;
    Entry& entry = at(slot.entry->text(), slot.entry->first, slot.hash);
    entry.count += slot.entry->count;
    entry.first = std::min(entry.first, slot.entry->first);
  }
}

WordCounter::WordCounter(int threads, int64_t max_size) : tables_(checked_threads(threads)), max_size_(max_size) {}

void WordCounter::count(std::string_view text, const std::vector<int64_t>& cuts) {
  std::atomic<int64_t> words = 0, sentences = 0;
  std::atomic<bool> too_large = false;
  const bool alone = tables_.size() == 1;
  for_each_piece(int(tables_.size()), int64_t(cuts.size()) - 1, [&](int thread, int64_t piece) {
    WordTable& table = tables_[thread];
    int64_t piece_words = 0, piece_sentences = 0;
    read_sentences(
        text.substr(cuts[piece], cuts[piece + 1] - cuts[piece]),
        [&](std::string_view word) {
          ++table.at_bytes(word, position_ + (word.data() - text.data())).count;
          ++piece_words;
        },
        [&] {
          ++piece_sentences;
          if (max_size_ == 0 || table.size() <= max_size_) return;
          if (alone)
            table.prune(least_++);
          else
            too_large = true;
        });
    words += piece_words;
    sentences += piece_sentences;
  });
  position_ += cuts.back();
  total_words_ += words;
  sentences_ += sentences;
  too_large_ |= too_large;
}

void WordCounter::count_word(std::string_view word) {
  ++tables_[0].at(word, position_++).count;
  ++total_words_;
}

void WordCounter::end_sentence() {
  ++sentences_;
  if (max_size_ > 0 && tables_[0].size() > max_size_) tables_[0].prune(least_++);
}

const WordTable& WordCounter::finish() {
  while (tables_.size() > 1) {
    tables_[0].add(tables_.back());
    tables_.pop_back();
    if (max_size_ > 0 && tables_[0].size() > max_size_) too_large_ = true;
  }
  return tables_[0];
}

void WordEncoder::add_key(std::string_view key) {
  Entry& entry = table_.at(key, table_.size());
  if (entry.count++) throw std::invalid_argument("the word '" + std::string(key) + "' is in the vocabulary twice");
}

std::vector<Ids> WordEncoder::encode(std::string_view text, const std::vector<int64_t>& cuts, int threads) const {
  std::vector<Ids> parts(cuts.size() - 1);
  for_each_piece(threads, int64_t(parts.size()), [&](int, int64_t piece) {
    Ids& part = parts[piece];
    int64_t before = 0;
    read_sentences(
        text.substr(cuts[piece], cuts[piece + 1] - cuts[piece]),
        [&](std::string_view word) {
          if (const Entry* entry = table_.find_bytes(word)) part.ids.push_back(int32_t(entry->first));
        },
        [&] {
          part.lengths.push_back(int64_t(part.ids.size()) - before);
          before = int64_t(part.ids.size());
        });
  });
  return parts;
}

}  // namespace fastrnn::word2vec
