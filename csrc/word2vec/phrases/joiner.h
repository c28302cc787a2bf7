// Joining the phrases of a text: few words are part of a phrase, and few pairs are one, so that what has to be looked
// up fits into the caches close to the cores, whatever was counted.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "reader.h"

namespace fastrnn::word2vec {

class PhraseJoiner {
 public:
  // Whether first and last, joined to a text that may be a phrase, are one.
  using Ask = std::function<bool(std::string_view first, std::string_view last, std::string_view joined)>;

  PhraseJoiner(std::string delimiter, const std::vector<std::string>& connectors, Ask ask);

  // Makes the text a phrase, or if not `certain`, one to ask about.
  void add(std::string_view phrase, bool certain);

  // The parts of a text with their phrases joined: a space between words, a line for each sentence.
  std::vector<std::string> join(std::string_view text, const std::vector<int64_t>& cuts, int threads) const;

  struct Word {
    std::string_view text;
    uint64_t hash;
    uint32_t id;  // kNone: part of no phrase
    bool connector;
    bool plain;  // without the delimiter's first byte, so never to be split
  };

  // Calls emit(first, last, phrase) for each word of a sentence or run of words that is a phrase: `phrase` is the
  // number of add()s before its own, or -1 for a word.
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
  void know_words();
  void look_up(std::vector<Word>& sentence) const;

  // The number of the phrase that a run of words is, or -1.
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
  Words words_;              // the connectors, and what is part of a phrase
  uint32_t connectors_;      // how many there are
  std::vector<bool> plain_;  // of the words
  PairTable phrases_;        // the count is whether it is certain, the place is its number
};

}  // namespace fastrnn::word2vec
