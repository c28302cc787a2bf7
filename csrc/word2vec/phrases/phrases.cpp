#include "phrases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace fastrnn::word2vec {

void Phrases::add(PhraseCounts counted) {
  if (size() == 0) {  // used as it is, even if it is too large, as in gensim
    counted.total_words += counts_.total_words;
    counted.least = counts_.least;
    counts_ = std::move(counted);
    return;
  }
  counts_.add(counted);
  counts_.least = std::max(counts_.least, counted.least);
  if (size() <= options_.max_size) return;
  counts_.names.prune(counts_.least++);
  counts_.drop_unused_words();
}

int64_t Phrases::count(std::string_view text) const {
  const PairCount* counted = counts_.names.find(counts_.words.find_name(text, options_.delimiter));
  return counted ? counted->count : 0;
}

double Phrases::score(std::string_view first, std::string_view last, std::string_view joined) const {
  return score(count(first), count(last), count(joined));
}

double Phrases::score(int64_t first, int64_t last, int64_t both) const {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  if (first == 0 || last == 0 || !is_frequent(both)) return none;
  double score;
  // Bouma, 2009, "Normalized (pointwise) mutual information in collocation extraction", equation 5
  if (options_.npmi) {
    const double words = double(total_words());
    const double p_first = first / words, p_last = last / words, p_both = both / words;
    score = std::log(p_both / (p_first * p_last)) / -std::log(p_both);
  } else {  // Mikolov's equation 6 times the size of the vocabulary
    score = (both - options_.min_count) / (double(first) * double(last)) * double(size());
  }
  return score > options_.threshold ? score : none;
}

std::vector<Phrases::Candidate> Phrases::candidates() const {
  std::vector<int64_t> counts(counts_.words.size());  // of words without the delimiter
  counts_.names.for_each([&](const PairCount& counted) {
    if (counted.pair.left == kNone) counts[counted.pair.right] = counted.count;
  });
  std::vector<bool> is_whole;
  for (uint32_t id = 0; id < counts_.words.size(); ++id)
    is_whole.push_back(counts_.words.text(id).find(options_.delimiter[0]) == std::string_view::npos);
  std::vector<Candidate> found;
  counts_.names.for_each([&](const PairCount& counted) {
    const auto [left, right] = counted.pair;
    if (left == kNone || !is_frequent(counted.count)) return;
    const bool certain = is_whole[left] && is_whole[right];
    if (!certain || !std::isnan(score(counts[left], counts[right], counted.count))) found.push_back({counted, certain});
  });
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.pair.first < b.pair.first; });
  return found;
}

std::vector<std::pair<std::string, double>> Phrases::phrases() const {
  const std::string& delimiter = options_.delimiter;
  std::vector<std::pair<std::string, double>> found;
  for (const Candidate& candidate : candidates()) {
    std::string joined = text(candidate.pair);
    const std::string_view view = joined;
    const size_t left = view.find(delimiter);
    // the last delimiter that does not overlap an earlier one
    size_t right = left;
    for (size_t next; (next = view.find(delimiter, right + delimiter.size())) != std::string::npos;) right = next;
    const double value = score(view.substr(0, left), view.substr(right + delimiter.size()), view);
    if (!std::isnan(value)) found.emplace_back(std::move(joined), value);
  }
  return found;
}

std::vector<PairCount> Phrases::counts() const {
  std::vector<PairCount> all;
  all.reserve(size());
  counts_.names.for_each([&](const PairCount& counted) { all.push_back(counted); });
  std::sort(all.begin(), all.end(), [](const PairCount& a, const PairCount& b) { return a.first < b.first; });
  return all;
}

void Phrases::restore(const std::vector<std::string>& texts, const std::vector<int64_t>& numbers, int64_t total_words,
                      int64_t least) {
  if (texts.size() != numbers.size())
    throw std::invalid_argument("expected one count per word, got " + std::to_string(numbers.size()) + " counts and " +
                                std::to_string(texts.size()) + " words");
  for (size_t i = 0; i < texts.size(); ++i)
    counts_.names.add(counts_.words.name(texts[i], options_.delimiter), numbers[i], counts_.position++);
  counts_.total_words = total_words;
  counts_.least = least;
}

}  // namespace fastrnn::word2vec
