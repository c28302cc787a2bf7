// The words and pairs of a sentence as names, which are pairs of numbers.
//
// Counting is by text, so the word "new_york" and the neighbours "new" and "york" count as the same. Therefore each
// text has one name. If it contains the delimiter, its name is the pair of the text before the last delimiter and the
// text after it; otherwise it is the pair of no word and the text itself. So a phrase of two words is its two words,
// and "bank_of_america" is "bank_of" and "america".
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "../corpus/vocabulary.h"
#include "pair_table.h"

namespace fastrnn::word2vec {

// Where a text is split into the two halves of its name; npos if it is not split.
inline size_t split(std::string_view text, std::string_view delimiter) { return text.rfind(delimiter); }

// Numbers for words, in order of first appearance.
class Words {
 public:
  static constexpr uint32_t kMost = kNone;  // numbers are below it

  // The word's number; a new one if it has none. Throws std::length_error if there are too many.
  uint32_t id(std::string_view word) { return id(word, hash(word)); }
  uint32_t id(std::string_view word, uint64_t hash) {
    const Entry* entry = table_.find(word, hash);
    return entry ? uint32_t(entry->first) : add(word);
  }
  // kNone if it has none.
  uint32_t find(std::string_view word) const { return find(word, hash(word)); }
  uint32_t find(std::string_view word, uint64_t hash) const {
    const Entry* entry = table_.find(word, hash);
    if (!entry && !is_utf8(word)) entry = table_.find(replace_invalid(word));
    return entry ? uint32_t(entry->first) : kNone;
  }
  std::string_view text(uint32_t id) const { return entries_[id]->text(); }
  uint32_t size() const { return uint32_t(entries_.size()); }

  // See WordTable.
  void prefetch(uint64_t hash) const { table_.prefetch(hash); }
  void prefetch_entry(uint64_t hash) const { table_.prefetch_entry(hash); }

  // The name of a text. If a half has no number, find_name returns a pair that is in no table.
  Pair name(std::string_view text, std::string_view delimiter);
  Pair find_name(std::string_view text, std::string_view delimiter) const;
  std::string text(Pair name, std::string_view delimiter) const;

 private:
  uint32_t add(std::string_view word);

  WordTable table_;  // Entry::first is the number
  std::vector<const Entry*> entries_;
};

struct PhraseOptions {
  double min_count, threshold;
  int64_t max_size;
  std::string delimiter;
  bool npmi;
  std::vector<std::string> connectors;
};

// Turns sentences into the names of their words and pairs of neighbours, with this reader's own numbers for words.
class PhraseReader {
 public:
  explicit PhraseReader(const PhraseOptions& options);

  // The word's bytes must stay valid until the sentence ends.
  void word(std::string_view word) {
    unread_.push_back({word, hash(word)});
    if (unread_.size() == kUnread) read();
  }
  void end_sentence() {
    read();
    run_.clear();
    ends.push_back(names.size());
  }

  Words words;
  std::vector<Pair> names;   // in order, since this was last cleared
  std::vector<size_t> ends;  // of the sentences, in names
  int64_t total_words = 0;

 private:
  // Properties of a word, one for each number.
  struct Kind {
    bool known, connector, plain;  // plain: without the delimiter's first byte, so never split
  };
  struct Unread {
    std::string_view text;
    uint64_t hash;
  };
  static constexpr size_t kUnread = 1024;

  Kind kind(std::string_view word) const;
  void read();
  void read(uint32_t id);

  std::string delimiter_;
  WordTable connectors_;
  std::vector<Kind> kinds_;
  std::vector<Unread> unread_;
  std::vector<uint32_t> run_;  // the last word that is not a connector, and the connectors after it
  std::string joined_;
};

}  // namespace fastrnn::word2vec
