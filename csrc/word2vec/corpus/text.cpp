#include "text.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>

#include "../worker_threads.h"

namespace fastrnn::word2vec {

namespace {

constexpr int kGroup = 256;  // bytes examined at once, in a loop that the compiler vectorizes

// The first end of a sentence at or after `enough`, in a text that begins at a sentence. If there is none, the last end
// of a sentence, or `begin`.
const char* end_of_sentence(const char* begin, const char* end, const char* enough) {
  const char* found = begin;
  int64_t words = 0;
  for (const char* at = begin; at < end;) {
    if (at > begin && end - at >= kGroup) {  // skip a group without an end of a sentence
      int ends = 0, newlines = 0;
      for (int i = 0; i < kGroup; ++i) {
        ends += is_space(at[i]) & !is_space(at[i - 1]);
        newlines += at[i] == '\n';
      }
      if (newlines == 0 && words + ends < kWordsPerSentence) {
        words += ends;
        at += kGroup;
        continue;
      }
    }
    for (const char* stop = end - at < kGroup ? end : at + kGroup; at < stop; ++at) {
      if (!is_space(*at)) continue;
      if (at > begin && !is_space(at[-1])) ++words;
      if (*at != '\n' && words < kWordsPerSentence) continue;
      words = 0;
      found = *at == '\n' ? at + 1 : at;
      if (found >= enough) return found;
    }
  }
  return found;
}

// The start of the line that contains `at`, or `begin` if that is later.
const char* start_of_line(const char* begin, const char* at) {
  const size_t newline = std::string_view(begin, at - begin).rfind('\n');
  return newline == std::string_view::npos ? begin : begin + newline + 1;
}

// Throws if the text ends in a word that is too long.
void check_last_word(const char* begin, const char* end) {
  const char* word = end;
  while (word > begin && !is_space(word[-1]) && size_t(end - word) <= kLongestWord) --word;
  if (size_t(end - word) > kLongestWord)
    throw std::invalid_argument("the corpus has a word of more than " + std::to_string(kLongestWord) +
                                " bytes; is it text with words separated by white space?");
}

}  // namespace

std::vector<int64_t> cut(std::string_view text, bool is_last, int64_t piece_size) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  std::vector<int64_t> cuts = {0};
  const char* at = begin;
  while (end - at > piece_size) {
    const char* const enough = at + piece_size;
    const char* const far = end - enough > piece_size ? enough + piece_size : end;
    const void* newline = memchr(enough, '\n', far - enough);
    if (newline) {
      at = static_cast<const char*>(newline) + 1;
    } else {  // a line longer than a piece: count its words
      const char* found = end_of_sentence(start_of_line(at, enough), end, enough);
      if (found < enough) break;
      at = found;
    }
    cuts.push_back(at - begin);
  }
  if (is_last) {
    at = end;
  } else {
    check_last_word(at, end);
    at = end_of_sentence(start_of_line(at, end), end, end);
  }
  if (at - begin > cuts.back()) cuts.push_back(at - begin);
  return cuts;
}

void check_cuts(std::string_view text, const std::vector<int64_t>& cuts) {
  const bool in_order = std::is_sorted(cuts.begin(), cuts.end());
  if (cuts.empty() || !in_order || cuts.front() < 0 || cuts.back() > int64_t(text.size()))
    throw std::invalid_argument("cuts must be increasing positions in the text, as returned by cut()");
}

void for_each_piece(int threads, int64_t pieces, const std::function<void(int, int64_t)>& work) {
  std::atomic<int64_t> next = 0;
  std::exception_ptr error;
  std::mutex mutex;
  auto run = [&](int thread) {
    try {
      for (int64_t piece; (piece = next++) < pieces;) work(thread, piece);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next = pieces;
    }
  };
  const int useful = int(std::clamp<int64_t>(pieces, 1, checked_threads(threads)));
  run_together(useful, [](void* context, int thread) { (*static_cast<decltype(run)*>(context))(thread); }, &run);
  if (error) std::rethrow_exception(error);
}

namespace {

// The length of the first character of `bytes` (not empty) if it is valid; otherwise minus the number of bytes that one
// U+FFFD replaces: the longest prefix of a valid character, or one byte (the Unicode standard, table 3-7 and "U+FFFD
// substitution of maximal subparts" in section 3.9).
int character(std::string_view bytes) {
  auto at = [&](size_t i) -> int { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0; };
  const int first = at(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return -1;
  const int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  int least = 0x80, most = 0xBF;  // of the second byte
  if (first == 0xE0) least = 0xA0;
  if (first == 0xED) most = 0x9F;
  if (first == 0xF0) least = 0x90;
  if (first == 0xF4) most = 0x8F;
  for (int i = 1; i < length; ++i, least = 0x80, most = 0xBF)
    if (at(i) < least || at(i) > most) return -i;
  return length;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  unsigned char any = 0;
  for (const char byte : bytes) any |= static_cast<unsigned char>(byte);
  if (any < 0x80) return true;  // ASCII, like most words
  while (!bytes.empty()) {
    const int length = character(bytes);
    if (length < 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string replace_invalid(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const int length = character(bytes);
    text.append(length > 0 ? bytes.substr(0, length) : "\xEF\xBF\xBD");
    bytes.remove_prefix(length > 0 ? length : -length);
  }
  return text;
}

}  // namespace fastrnn::word2vec
