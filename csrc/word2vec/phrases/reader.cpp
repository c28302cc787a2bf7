#include "reader.h"

#include <stdexcept>

namespace fastrnn::word2vec {

namespace {

// The table of words is larger than the first caches, so prefetch it.
constexpr size_t kAhead = 16;

}  // namespace

uint32_t Words::add(std::string_view word) {
  const Entry& entry = table_.at_bytes(word, size());
  if (entry.first == size()) {
    if (size() == kMost) throw std::length_error("more than 4 billion different words");
    entries_.push_back(&entry);
  }
  return uint32_t(entry.first);
}

Pair Words::name(std::string_view text, std::string_view delimiter) {
  const size_t at = split(text, delimiter);
  if (at == std::string_view::npos) return {kNone, id(text)};
  const uint32_t left = id(text.substr(0, at));
  return {left, id(text.substr(at + delimiter.size()))};
}

Pair Words::find_name(std::string_view text, std::string_view delimiter) const {
  const size_t at = split(text, delimiter);
  if (at == std::string_view::npos) return {kNone, find(text)};
  const Pair name = {find(text.substr(0, at)), find(text.substr(at + delimiter.size()))};
  return name.left == kNone ? Pair{kNone, kNone} : name;
}

std::string Words::text(Pair name, std::string_view delimiter) const {
  std::string text;
  if (name.left != kNone) (text += this->text(name.left)) += delimiter;
  return text += this->text(name.right);
}

PhraseReader::PhraseReader(const PhraseOptions& options) : delimiter_(options.delimiter) {
  for (const std::string& word : options.connectors) connectors_.at(word, 0);
}

PhraseReader::Kind PhraseReader::kind(std::string_view word) const {
  return {true, connectors_.find(word) != nullptr, word.find(delimiter_[0]) == std::string_view::npos};
}

void PhraseReader::read() {
  for (size_t i = 0; i < unread_.size(); ++i) {
    if (i + kAhead < unread_.size()) words.prefetch(unread_[i + kAhead].hash);
    if (i + kAhead / 2 < unread_.size()) words.prefetch_entry(unread_[i + kAhead / 2].hash);
    read(words.id(unread_[i].text, unread_[i].hash));
  }
  unread_.clear();
}

void PhraseReader::read(uint32_t id) {
  if (id >= kinds_.size()) kinds_.resize(id + 1);
  if (!kinds_[id].known) kinds_[id] = kind(words.text(id));
  const Kind kind = kinds_[id];
  ++total_words;
  if (kind.connector) {
    if (!run_.empty()) run_.push_back(id);
    return;
  }
  names.push_back(kind.plain ? Pair{kNone, id} : words.name(words.text(id), delimiter_));
  if (run_.size() == 1 && kind.plain) {
    names.push_back({run_[0], id});
  } else if (!run_.empty()) {
    joined_.clear();
    for (const uint32_t before : run_) (joined_ += words.text(before)) += delimiter_;
    names.push_back(words.name(joined_ += words.text(id), delimiter_));
  }
  run_.assign(1, id);
}

}  // namespace fastrnn::word2vec
