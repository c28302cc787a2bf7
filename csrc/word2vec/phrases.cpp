#include "phrases.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

namespace fastrnn::word2vec {

Phrases::Phrases(double min_count, double threshold, int64_t max_size, std::string delimiter, bool npmi,
                 const std::vector<std::string>& connectors)
    : min_count_(min_count), threshold_(threshold), max_size_(max_size), delimiter_(std::move(delimiter)), npmi_(npmi) {
  for (const std::string& word : connectors) connectors_.at(word, connectors_.size());
}

void Phrases::Counter::count(const Joined& sentence, WordTable& table, std::vector<Key>& keys, int64_t position) {
  keys.clear();
  auto add = [&](std::string_view text) { keys.push_back({text, hash(text)}); };
  int64_t previous = -1;
  for (int64_t i = 0; i < sentence.size(); ++i) {
    if (phrases_.is_connector(sentence.word(i))) continue;
    add(sentence.word(i));
    if (previous >= 0) add(sentence.run(previous, i));
    previous = i;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i + kAhead < keys.size()) table.prefetch(keys[i + kAhead].hash);
    if (i + kAhead / 2 < keys.size()) table.prefetch_entry(keys[i + kAhead / 2].hash);
    Entry* entry = table.find(keys[i].text, keys[i].hash);
    ++(entry ? *entry : table.at_bytes(keys[i].text, position + int64_t(i))).count;
  }
}

void Phrases::Counter::count(std::string_view text, const std::vector<int64_t>& cuts) {
  std::atomic<int64_t> words = 0;
  std::atomic<bool> too_large = false;
  const bool alone = tables_.size() == 1;
  for_each_piece(int(tables_.size()), int64_t(cuts.size()) - 1, [&](int thread, int64_t piece) {
    WordTable& table = tables_[thread];
    Joined sentence(phrases_.delimiter());
    std::vector<Key> keys;
    // A sentence has at most as many keys as bytes and one more, so those of a place stay before those of the next.
    int64_t place = position_ + cuts[piece], next = place;
    read_sentences(
        text.substr(cuts[piece], cuts[piece + 1] - cuts[piece]),
        [&](std::string_view word) {
          sentence.add(word);
          next = position_ + (word.data() + word.size() - text.data());
        },
        [&] {
          count(sentence, table, keys, place);
          words += sentence.size();
          sentence.clear();
          place = next;
          if (table.size() <= phrases_.max_size_) return;
          if (alone)
            table.prune(least_++);
          else
            too_large = true;
        });
  });
  position_ += cuts.back();
  total_words_ += words;
  too_large_ |= too_large;
}

void Phrases::Counter::count(const Joined& sentence) {
  std::vector<Key> keys;
  count(sentence, tables_[0], keys, position_);
  position_ += 2 * sentence.size();
  total_words_ += sentence.size();
  if (tables_[0].size() > phrases_.max_size_) tables_[0].prune(least_++);
}

bool Phrases::Counter::is_too_large() {
  while (!too_large_ && tables_.size() > 1) {
    tables_[0].add(tables_.back());
    tables_.pop_back();
    too_large_ = tables_[0].size() > phrases_.max_size_;
  }
  return too_large_;
}

void Phrases::add(Counter& counter) {
  counter.is_too_large();  // merges
  total_words_ += counter.total_words_;
  if (counts_.size() == 0) {  // taken as it is, also if it is too large, as gensim does
    counts_ = std::move(counter.tables_[0]);
  } else {
    for (const Entry* entry : counter.tables_[0].entries())
      counts_.at(entry->text(), position_ + entry->first).count += entry->count;
    least_ = std::max(least_, counter.least_);
    if (counts_.size() > max_size_) counts_.prune(least_++);
  }
  position_ += counter.position_;
}

double Phrases::score(std::string_view first, std::string_view last, std::string_view joined) const {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const Entry* both = counts_.find_bytes(joined);
  if (!both || (npmi_ ? both->count < min_count_ : threshold_ >= 0 && both->count <= min_count_)) return none;
  const Entry* a = counts_.find_bytes(first);
  const Entry* b = counts_.find_bytes(last);
  if (!a || !b) return none;
  double score;
  if (npmi_) {  // Bouma, 2009, "Normalized (pointwise) mutual information in collocation extraction", equation 5
    const double words = double(total_words_);
    const double p_a = a->count / words, p_b = b->count / words, p_both = both->count / words;
    score = std::log(p_both / (p_a * p_b)) / -std::log(p_both);
  } else {  // Mikolov's equation 6, times the size of the vocabulary
    score = (both->count - min_count_) / (double(a->count) * double(b->count)) * double(counts_.size());
  }
  return score > threshold_ ? score : none;
}

std::vector<std::string> Phrases::apply(std::string_view text, const std::vector<int64_t>& cuts, int threads) const {
  std::vector<std::string> parts(cuts.size() - 1);
  for_each_piece(threads, int64_t(parts.size()), [&](int, int64_t piece) {
    std::string& out = parts[piece];
    out.reserve(cuts[piece + 1] - cuts[piece] + 1);
    Joined sentence(delimiter_);
    read_sentences(
        text.substr(cuts[piece], cuts[piece + 1] - cuts[piece]), [&](std::string_view word) { sentence.add(word); },
        [&] {
          apply(sentence, [&](std::string_view word) { (out += word) += ' '; });
          out.back() = '\n';
          sentence.clear();
        });
  });
  return parts;
}

std::vector<std::pair<std::string, double>> Phrases::phrases() const {
  std::vector<std::pair<std::string, double>> found;
  for (const Entry* entry : counts_.entries()) {
    const std::string_view text = entry->text();
    const size_t left = text.find(delimiter_);
    if (left == std::string_view::npos) continue;
    // the last delimiter that does not overlap one before it, where there are several
    size_t right = left;
    for (size_t next; (next = text.find(delimiter_, right + delimiter_.size())) != std::string_view::npos;)
      right = next;
    const double value = score(text.substr(0, left), text.substr(right + delimiter_.size()), text);
    if (!std::isnan(value)) found.emplace_back(text, value);
  }
  return found;
}

void Phrases::restore(const std::vector<std::string>& words, const std::vector<int64_t>& counts, int64_t total_words,
                      int64_t least) {
  if (words.size() != counts.size()) throw std::invalid_argument("there must be as many counts as words");
  for (size_t i = 0; i < words.size(); ++i) counts_.at(words[i], position_++).count = counts[i];
  total_words_ = total_words;
  least_ = least;
}

}  // namespace fastrnn::word2vec
