// Joining the phrases in a text. Only few words are part of a phrase and only few pairs are phrases, so the table for
// joining fits in the first caches, however much was counted.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "reader.h"

namespace fastrnn::word2vec {

class PhraseJoiner {
 public:
  // Whether `joined`, with these first and last words, is a phrase.
  using Ask = std::function<bool(std::string_view first, std::string_view last, std::string_view joined)>;

  PhraseJoiner(std::string delimiter, const std::vector<std::string>& connectors, Ask ask);

  // Adds a phrase; if it is not `certain`, `ask` decides each time it occurs.
  void add(std::string_view phrase, bool certain);

  // The parts of a text with phrases joined: a space between words, one line per sentence.
  std::vector<std::string> join(std::string_view text, const std::vector<int64_t>& cuts, int threads) const;

  struct Word {
    std::string_view text;
    uint64_t hash;
    uint32_t id;  // kNone: part of no phrase
    bool connector;
    bool plain;  // without the delimiter's first byte, so never split
  };

  // Calls emit(first, last, phrase) for each word of a sentence, or run of words that is a phrase. `phrase` is the
  // number of the phrase in the order of add(), or -1 for a word.
  template <class Emit>
  void join(std::vector<Word>& sentence, std::string& scratch, Emit&& emit) const {
    look_up(sentence);
    const int64_t size = int64_t(sentence.size());
    int64_t start = -1;  // the word that may begin a phrase
    auto emit_until = [&](int64_t end) {
      for (; start >= 0 && start < end; ++start) emit(start, start, int64_t{-1});
    };
    for (int64_t i = 0; i < size; ++i) {
      if (sentence[i].connector) {
        if (start < 0) emit(i, i, int64_t{-1});
        continue;
      }
      const int64_t phrase = start < 0 ? -1 : find(sentence, start, i, scratch);
      if (phrase >= 0) {
        emit(start, i, phrase);
        start = -1;
      } else {
        emit_until(i);
        start = i;
      }
    }
    emit_until(size);
  }

  static Word word(std::string_view text) { return {text, hash(text), kNone, false, true}; }
  const std::string& delimiter() const { return delimiter_; }

 private:
  void classify_words();
  void look_up(std::vector<Word>& sentence) const;

  // The number of the phrase that these words are, or -1.
  int64_t find(const std::vector<Word>& sentence, int64_t first, int64_t last, std::string& scratch) const {
    const Word &a = sentence[first], &b = sentence[last];
    if (first + 1 == last && b.plain) {
      if (a.id == kNone || b.id == kNone) return -1;
      const PairCount* found = phrases_.find({a.id, b.id});
      if (!found) return -1;
      if (found->count) return found->first;
    }
    return find_text(sentence, first, last, scratch);
  }
  int64_t find_text(const std::vector<Word>& sentence, int64_t first, int64_t last, std::string& scratch) const;
  bool is_plain(std::string_view word) const { return word.find(delimiter_[0]) == std::string_view::npos; }

  std::string delimiter_;
  Ask ask_;
  Words words_;              // the connectors, and the words of phrases
  uint32_t connectors_;      // number of connectors
  std::vector<bool> plain_;  // of the words
  PairTable phrases_;        // count: whether it is certain; first: its number
};

}  // namespace fastrnn::word2vec
