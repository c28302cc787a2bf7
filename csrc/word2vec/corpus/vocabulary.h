// Counting words: a hash table of strings, one for each thread, merged at the end.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "text.h"
#include "word_hash.h"

namespace fastrnn::word2vec {

// One word. Its bytes follow the entry in memory, so that reading both costs one cache miss.
struct Entry {
  int64_t count;
  int64_t first;  // position of its first occurrence, in the units of the caller
  uint32_t size;
  std::string_view text() const { return {reinterpret_cast<const char*>(this + 1), size}; }
};

// A hash table from words to entries: linear probing, at most half full. Entries are in large blocks that never move.
class WordTable {
 public:
  WordTable();

  // Null if the word is not in the table.
  Entry* find(std::string_view text) const { return find(text, hash(text)); }
  Entry* find(std::string_view text, uint64_t hash) const {
    for (uint64_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (!slot.entry) return nullptr;
      if (slot.hash == hash && slot.entry->text() == text) return slot.entry;
    }
  }

  // The word's entry; a new one with count 0 if there was none.
  Entry& at(std::string_view text, int64_t first) { return at(text, first, hash(text)); }
  Entry& at(std::string_view text, int64_t first, uint64_t hash);

  // The same for arbitrary bytes: a word that is not UTF-8 is looked up after replace_invalid().
  Entry* find_bytes(std::string_view bytes) const;
  Entry& at_bytes(std::string_view bytes, int64_t first);

  // Prefetch for a word with this hash that is about to be looked up: first the slot and, some time later, the entry.
  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  void prefetch_entry(uint64_t hash) const { __builtin_prefetch(slots_[hash & mask_].entry); }

  int64_t size() const { return size_; }

  // In order of first appearance.
  std::vector<const Entry*> entries() const;

  // Removes every word that was counted less than `count` times.
  void prune(int64_t count);

  // Adds the counts of another table, and keeps the earlier first appearance.
  void add(const WordTable& other);

 private:
  struct Slot {
    uint64_t hash;
    Entry* entry;  // null: free
  };

  void grow();
  Entry* make(std::string_view text, int64_t first);

  std::vector<Slot> slots_;
  uint64_t mask_;
  int64_t size_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* free_ = nullptr;
  size_t left_ = 0;
};

// Counts the words of a corpus that arrives in parts, in order.
//
// With max_size > 0, whenever a sentence ends with more than max_size words in the table, some are discarded: the first
// time those counted less than once (none), then less than twice, and so on, as in gensim. That depends on the order of
// the corpus, so several threads do not discard. If one of them has seen too many words, is_too_large() is true, and
// the corpus must be counted again by one thread.
class WordCounter {
 public:
  WordCounter(int threads, int64_t max_size);

  // `cuts` as cut() makes them.
  void count(std::string_view text, const std::vector<int64_t>& cuts);

  void count_word(std::string_view word);
  void end_sentence();

  bool is_too_large() const { return too_large_; }
  int64_t total_words() const { return total_words_; }
  int64_t sentences() const { return sentences_; }

  // All counts in one table. Nothing can be counted afterwards.
  const WordTable& finish();

 private:
  std::vector<WordTable> tables_;  // one for each thread
  int64_t max_size_;
  int64_t least_ = 1;     // next time, words counted less often than this are discarded
  int64_t position_ = 0;  // bytes, or words, so far
  int64_t total_words_ = 0, sentences_ = 0;
  bool too_large_ = false;
};

// Sentences as word ids; words that are not in the vocabulary are dropped.
struct Ids {
  std::vector<int32_t> ids;
  std::vector<int64_t> lengths;  // of each sentence
};

class WordEncoder {
 public:
  // A word's id is its index among the keys. Throws std::invalid_argument for a repeated key.
  void add_key(std::string_view key);

  // The parts of the text, in order.
  std::vector<Ids> encode(std::string_view text, const std::vector<int64_t>& cuts, int threads) const;

  // -1 if the word is not in the vocabulary.
  int32_t id(std::string_view word) const {
    const Entry* entry = table_.find(word);
    return entry ? int32_t(entry->first) : -1;
  }

 private:
  WordTable table_;  // Entry::first is the id
};

}  // namespace fastrnn::word2vec
