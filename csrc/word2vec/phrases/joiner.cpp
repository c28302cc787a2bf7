#include "joiner.h"

#include "../corpus/text.h"

namespace fastrnn::word2vec {

PhraseJoiner::PhraseJoiner(std::string delimiter, const std::vector<std::string>& connectors, Ask ask)
    : delimiter_(std::move(delimiter)), ask_(std::move(ask)) {
  for (const std::string& word : connectors) words_.id(word);
  connectors_ = words_.size();
  classify_words();
}

void PhraseJoiner::add(std::string_view phrase, bool certain) {
  phrases_.add(words_.name(phrase, delimiter_), certain, phrases_.size());
  classify_words();
}

void PhraseJoiner::classify_words() {
  while (plain_.size() < words_.size()) plain_.push_back(is_plain(words_.text(uint32_t(plain_.size()))));
}

void PhraseJoiner::look_up(std::vector<Word>& sentence) const {
  for (Word& word : sentence) {
    word.id = words_.find(word.text, word.hash);
    word.connector = word.id < connectors_;
    word.plain = word.id == kNone ? is_plain(word.text) : plain_[word.id];
  }
}

int64_t PhraseJoiner::find_text(const std::vector<Word>& sentence, int64_t first, int64_t last,
                                std::string& joined) const {
  joined = sentence[first].text;
  for (int64_t i = first + 1; i <= last; ++i) (joined += delimiter_) += sentence[i].text;
  const PairCount* found = phrases_.find(words_.find_name(joined, delimiter_));
  if (!found) return -1;
  return found->count || ask_(sentence[first].text, sentence[last].text, joined) ? found->first : -1;
}

std::vector<std::string> PhraseJoiner::join(std::string_view text, const std::vector<int64_t>& cuts,
                                            int threads) const {
  std::vector<std::string> parts(cuts.size() - 1);
  for_each_piece(threads, int64_t(parts.size()), [&](int, int64_t piece) {
    std::string& out = parts[piece];
    out.reserve(cuts[piece + 1] - cuts[piece] + 1);
    std::vector<Word> sentence;
    std::string scratch;
    read_sentences(
        text.substr(cuts[piece], cuts[piece + 1] - cuts[piece]),
        [&](std::string_view text) { sentence.push_back(word(text)); },
        [&] {
          join(sentence, scratch, [&](int64_t first, int64_t last, int64_t) {
            out += sentence[first].text;
            while (first < last) (out += delimiter_) += sentence[++first].text;
            out += ' ';
          });
          out.back() = '\n';
          sentence.clear();
        });
  });
  return parts;
}

}  // namespace fastrnn::word2vec
