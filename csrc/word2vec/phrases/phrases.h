// Finding phrases: two words that occur together more often than by chance become one (Mikolov et al., 2013,
// arXiv:1310.4546, section 4).
//
// Connector words ("of", "the") are not counted. A phrase may contain them, but not begin or end with one.
#pragma once
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "counter.h"

namespace fastrnn::word2vec {

class Phrases {
 public:
  explicit Phrases(PhraseOptions options) : options_(std::move(options)) {}

  // Adds the counts of another corpus.
  void add(PhraseCounts counted);

  // The score of a phrase if all three were counted and it is above the threshold, else NaN.
  double score(std::string_view first, std::string_view last, std::string_view joined) const;

  // A text that may be a phrase.
  struct Candidate {
    PairCount pair;
    bool certain;  // there is only one way to split it into two words, and their score is above the threshold
  };
  // All possible phrases, in order of first appearance.
  std::vector<Candidate> candidates() const;

  // All texts that are phrases when split at every delimiter, with their scores, in order of first appearance.
  std::vector<std::pair<std::string, double>> phrases() const;

  std::string text(const PairCount& counted) const { return counts_.words.text(counted.pair, options_.delimiter); }
  std::vector<PairCount> counts() const;  // in order of first appearance
  int64_t size() const { return counts_.names.size(); }
  int64_t total_words() const { return counts_.total_words; }
  int64_t least() const { return counts_.least; }
  const PhraseOptions& options() const { return options_; }

  mutable std::shared_mutex changing;  // held while reading or changing this without the GIL

  // Restores the texts and numbers of counts(), total_words() and least().
  void restore(const std::vector<std::string>& texts, const std::vector<int64_t>& numbers, int64_t total_words,
               int64_t least);

 private:
  int64_t count(std::string_view text) const;
  bool is_frequent(int64_t count) const {
    return options_.npmi ? double(count) >= options_.min_count : double(count) > options_.min_count;
  }
  double score(int64_t first, int64_t last, int64_t both) const;

  PhraseOptions options_;
  PhraseCounts counts_;
};

}  // namespace fastrnn::word2vec
