#include "counter.h"

#include <algorithm>
#include <stdexcept>

#include "../worker_threads.h"

namespace fastrnn::word2vec {

namespace {

// Words and pairs per batch: more take more memory, 20 bytes each; with fewer the table is read more often.
constexpr size_t kBatch = size_t{4} << 20;
constexpr int64_t kBatchBytes = int64_t{3} * kBatch;  // of text
constexpr size_t kSentences = 64;                     // taken by a thread at a time
constexpr int64_t kFew = 1 << 14;                     // with fewer names no threads are started

}  // namespace

void PhraseCounts::add(const PhraseCounts& other) {
  std::vector<uint32_t> ours(other.words.size());
  for (uint32_t id = 0; id < other.words.size(); ++id) ours[id] = words.id(other.words.text(id));
  other.names.for_each([&](const PairCount& theirs) {
    const auto [left, right] = theirs.pair;
    names.add({left == kNone ? kNone : ours[left], ours[right]}, theirs.count, position + theirs.first);
  });
  total_words += other.total_words;
  position += other.position;
}

void PhraseCounts::drop_unused_words() {
  std::vector<bool> used(words.size());
  names.for_each([&](const PairCount& slot) {
    if (slot.pair.left != kNone) used[slot.pair.left] = true;
    used[slot.pair.right] = true;
  });
  PhraseCounts kept;
  std::vector<uint32_t> ids(words.size());
  for (uint32_t id = 0; id < words.size(); ++id)
    if (used[id]) ids[id] = kept.words.id(words.text(id));
  names.for_each([&](const PairCount& slot) {
    const auto [left, right] = slot.pair;
    kept.names.add({left == kNone ? kNone : ids[left], ids[right]}, slot.count, slot.first);
  });
  words = std::move(kept.words);
  names = std::move(kept.names);
}

PhraseCounter::PhraseCounter(const PhraseOptions& options, int threads)
    : options_(options), shared_(checked_threads(threads)), occurrences_(threads) {
  for (int thread = 0; thread < threads; ++thread) readers_.emplace_back(options);
}

void PhraseCounter::count(std::string_view text, const std::vector<int64_t>& cuts) {
  for (size_t begin = 0, end; begin + 1 < cuts.size(); begin = end) {
    end = begin + 1;
    while (end + 1 < cuts.size() && cuts[end + 1] - cuts[begin] <= kBatchBytes) ++end;
    gather(int64_t(end - begin), [&](PhraseReader& reader, int64_t piece) {
      const int64_t from = cuts[begin + piece], to = cuts[begin + piece + 1];
      read_sentences(
          text.substr(from, to - from), [&](std::string_view word) { reader.word(word); },
          [&] { reader.end_sentence(); });
    });
    count_batch();
  }
}

void PhraseCounter::count(int64_t pieces, const Read& read) {
  gather(pieces, read);
  if (gathered() >= int64_t(kBatch)) count_batch();
}

PhraseCounts PhraseCounter::finish() {
  count_batch();
  return std::move(counts_);
}

void PhraseCounter::gather(int64_t pieces, const Read& read) {
  struct Piece {
    int reader;
    size_t first, last;  // of its sentences
  };
  std::vector<Piece> gathered_pieces(pieces);
  for_each_piece(int(readers_.size()), pieces, [&](int thread, int64_t piece) {
    PhraseReader& reader = readers_[thread];
    const size_t first = reader.ends.size();
    read(reader, piece);
    gathered_pieces[piece] = {thread, first, reader.ends.size()};
  });
  int64_t place = gathered();
  for (const Piece& piece : gathered_pieces) {
    const std::vector<size_t>& ends = readers_[piece.reader].ends;
    for (size_t i = piece.first; i < piece.last; ++i) {
      const size_t begin = i == 0 ? 0 : ends[i - 1];
      sentences_.push_back({piece.reader, begin, ends[i], place});
      place += int64_t(ends[i] - begin);
    }
  }
}

// The number of names in the batch.
int64_t PhraseCounter::gathered() const {
  if (sentences_.empty()) return 0;
  const Sentence& last = sentences_.back();
  return last.place + int64_t(last.end - last.begin);
}

// Adds the batch's sentences to the counts, as many at a time as keep the table small enough.
void PhraseCounter::count_batch() {
  if (sentences_.empty()) return;
  const int64_t names = gathered();
  if (names > int64_t{UINT32_MAX}) throw std::length_error("a sentence has more than 2 billion words; split it");
  share_words();
  bool pruned = false;
  for (size_t first = 0, span = sentences_.size(); first < sentences_.size(); span *= 2) {
    span = std::min(span, sentences_.size() - first);
    add(first, first + span, 1);
    if (counts_.names.size() <= options_.max_size) {
      first += span;
      continue;
    }
    const size_t after = overflowing(first) + 1;
    add(after, first + span, -1);
    counts_.names.prune(counts_.least++);
    pruned = true;
    first = after;
    span = 1;
  }
  for (PhraseReader& reader : readers_) {
    counts_.total_words += reader.total_words;
    reader.names.clear();
    reader.ends.clear();
    reader.total_words = 0;
    if (pruned) reader = PhraseReader(options_);
  }
  if (pruned) {
    counts_.drop_unused_words();
    for (std::vector<uint32_t>& ids : shared_) ids.clear();
  }
  counts_.position += names;
  sentences_.clear();
}

void PhraseCounter::share_words() {
  for (size_t i = 0; i < readers_.size(); ++i) {
    const Words& own = readers_[i].words;
    for (uint32_t id = uint32_t(shared_[i].size()); id < own.size(); ++id)
      shared_[i].push_back(counts_.words.id(own.text(id)));
  }
}

void PhraseCounter::add(size_t first, size_t last, int64_t step) {
  if (first == last) return;
  const Sentence& end = sentences_[last - 1];
  const int64_t names = end.place + int64_t(end.end - end.begin) - sentences_[first].place;
  const int threads = names < kFew ? 1 : int(readers_.size());
  const int64_t pieces = int64_t((last - first + kSentences - 1) / kSentences);
  for (Occurrences& each : occurrences_) each.expect(counts_.words.size());
  for_each_piece(threads, pieces, [&](int thread, int64_t piece) {
    Occurrences& found = occurrences_[thread];
    const size_t begin = first + piece * kSentences;
    for (size_t i = begin; i < std::min(begin + kSentences, last); ++i) {
      const Sentence& sentence = sentences_[i];
      const Pair* names = readers_[sentence.reader].names.data();
      const uint32_t* ids = shared_[sentence.reader].data();
      uint32_t place = uint32_t(sentence.place);
      for (size_t j = sentence.begin; j < sentence.end; ++j) {
        const auto [left, right] = names[j];
        found.add({left == kNone ? kNone : ids[left], ids[right]}, place++);
      }
    }
  });
  counts_.names.add(occurrences_, counts_.position, step, threads);
}

// The sentence, `first` or a later one, that made the number of words and pairs too large.
size_t PhraseCounter::overflowing(size_t first) const {
  const int64_t start = counts_.position + sentences_[first].place;
  int64_t before = 0;
  std::vector<int64_t> places;  // of what is new
  counts_.names.for_each([&](const PairCount& slot) {
    if (slot.first < start)
      ++before;
    else
      places.push_back(slot.first - counts_.position);
  });
  if (before > options_.max_size) return first;
  const auto too_much = places.begin() + (options_.max_size - before);
  std::nth_element(places.begin(), too_much, places.end());
  const auto next = std::upper_bound(sentences_.begin(), sentences_.end(), *too_much,
                                     [](int64_t place, const Sentence& sentence) { return place < sentence.place; });
  return size_t(next - sentences_.begin()) - 1;
}

}  // namespace fastrnn::word2vec
