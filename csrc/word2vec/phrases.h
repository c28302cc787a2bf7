// Phrases: two words that stand together more often than chance would have it become one (Mikolov et al., 2013,
// arXiv:1310.4546, section 4).
//
// Connector words ("of", "the") are neither counted nor an end of a phrase, but may stand inside one. Counts are by
// text: "new_york" met as a word and "new" beside "york" are one entry, as in gensim.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vocabulary.h"

namespace fastrnn::word2vec {

// How many words ahead of its turn an entry is fetched: the table is far larger than any cache.
constexpr int64_t kAhead = 16;

// The words of a sentence with the delimiter between them: any run of words, joined, is a part of that text.
class Joined {
 public:
  explicit Joined(std::string_view delimiter) : delimiter_(delimiter) {}
  void clear() {
    text_.clear();
    words_.clear();
  }
  void add(std::string_view word) {
    if (!words_.empty()) text_ += delimiter_;
    words_.push_back({text_.size(), text_.size() + word.size()});
    text_ += word;
  }
  int64_t size() const { return int64_t(words_.size()); }
  std::string_view word(int64_t i) const { return run(i, i); }
  std::string_view run(int64_t first, int64_t last) const {
    return std::string_view(text_).substr(words_[first].begin, words_[last].end - words_[first].begin);
  }

 private:
  struct Range {
    size_t begin, end;
  };
  std::string delimiter_, text_;
  std::vector<Range> words_;
};

class Phrases {
 public:
  Phrases(double min_count, double threshold, int64_t max_size, std::string delimiter, bool npmi,
          const std::vector<std::string>& connectors);

  // Counts the words of one corpus and its pairs of neighbours. Like WordCounter's, a corpus comes in parts, in order,
  // and with too many different words one thread has to count it again.
  class Counter {
   public:
    Counter(const Phrases& phrases, int threads) : phrases_(phrases), tables_(threads) {}
    void count(std::string_view text, const std::vector<int64_t>& cuts);
    void count(const Joined& sentence);
    bool is_too_large();
    const Phrases& phrases() const { return phrases_; }

   private:
    friend class Phrases;
    struct Key {
      std::string_view text;
      uint64_t hash;
    };
    void count(const Joined& sentence, WordTable& table, std::vector<Key>& keys, int64_t position);

    const Phrases& phrases_;
    std::vector<WordTable> tables_;
    int64_t total_words_ = 0, position_ = 0;
    int64_t least_ = 1;  // what is counted less often is forgotten next
    bool too_large_ = false;
  };

  void add(Counter& counter);

  // Calls emit(text) for each word of the sentence, or phrase.
  template <class Emit>
  void apply(const Joined& sentence, Emit&& emit) const {
    int64_t start = -1;  // the word that may begin a phrase
    for (int64_t i = 0; i < sentence.size(); ++i) {
      if (i + kAhead < sentence.size()) counts_.prefetch(hash(sentence.run(i + kAhead - 1, i + kAhead)));
      if (i + kAhead / 2 < sentence.size())
        counts_.prefetch_entry(hash(sentence.run(i + kAhead / 2 - 1, i + kAhead / 2)));
      if (is_connector(sentence.word(i))) {
        if (start < 0) emit(sentence.word(i));
      } else if (start >= 0 && is_phrase(sentence, start, i)) {
        emit(sentence.run(start, i));
        start = -1;
      } else {
        for (; start >= 0 && start < i; ++start) emit(sentence.word(start));
        start = i;
      }
    }
    for (; start >= 0 && start < sentence.size(); ++start) emit(sentence.word(start));
  }

  // The parts of a text with their phrases joined: a space between words, a line for each sentence.
  std::vector<std::string> apply(std::string_view text, const std::vector<int64_t>& cuts, int threads) const;

  // All phrases among what was counted, in order of first appearance, and their scores.
  std::vector<std::pair<std::string, double>> phrases() const;

  // The score of a phrase if all three were counted and it is above the threshold, else NaN.
  double score(std::string_view first, std::string_view last, std::string_view joined) const;

  bool is_connector(std::string_view word) const { return connectors_.size() > 0 && connectors_.find_bytes(word); }
  const std::string& delimiter() const { return delimiter_; }

  const WordTable& counts() const { return counts_; }
  int64_t total_words() const { return total_words_; }
  int64_t least() const { return least_; }
  // Puts back what counts(), total_words() and least() gave.
  void restore(const std::vector<std::string>& words, const std::vector<int64_t>& counts, int64_t total_words,
               int64_t least);

 private:
  bool is_phrase(const Joined& sentence, int64_t first, int64_t last) const {
    return score(sentence.word(first), sentence.word(last), sentence.run(first, last)) > threshold_;
  }

  double min_count_, threshold_;
  int64_t max_size_;
  std::string delimiter_;
  bool npmi_;
  WordTable connectors_, counts_;
  int64_t total_words_ = 0;
  int64_t least_ = 1;  // what is counted less often is forgotten next
  int64_t position_ = 0;
};

}  // namespace fastrnn::word2vec
