// What a text corpus is: words between white space, as bytes.split() of Python has it; sentences are lines, cut after
// every 10,000 words.
//
// A text is shared out among threads in pieces that begin and end with a sentence, so a worker needs nothing of its
// neighbours, and the result cannot depend on how many there are.
#pragma once
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fastrnn::word2vec {

constexpr int64_t kWordsPerSentence = 10000;
// A longer word is refused: whoever meets one has not been given a text, and it would have to be held in memory.
constexpr size_t kLongestWord = size_t{1} << 24;

inline bool is_space(char c) { return c == ' ' || static_cast<unsigned char>(c - '\t') <= '\r' - '\t'; }

// The sentences of a text that begins with one. Calls word(std::string_view) and, after the last word of each sentence,
// end_of_sentence().
template <class OnWord, class OnEnd>
void read_sentences(std::string_view text, OnWord&& word, OnEnd&& end_of_sentence) {
  const char* at = text.data();
  const char* const end = at + text.size();
  int64_t words = 0;
  auto finish = [&] {
    if (words > 0) end_of_sentence();
    words = 0;
  };
  while (true) {
    for (; at < end && is_space(*at); ++at)
      if (*at == '\n') finish();
    if (at == end) break;
    const char* begin = at;
    while (at < end && !is_space(*at)) ++at;
    word(std::string_view(begin, at - begin));
    if (++words == kWordsPerSentence) finish();
  }
  finish();
}

// Where to cut a text that begins with a sentence: 0 first, then ends of sentences about `piece_size` bytes apart, the
// last of them the end of the last sentence that is known to be whole. Where `is_last`, that is the end of the text.
// Linear in the text. Throws std::invalid_argument for a word longer than kLongestWord that the text ends in.
std::vector<int64_t> cut(std::string_view text, bool is_last, int64_t piece_size);

// Throws std::invalid_argument for cuts that are not such places of the text.
void check_cuts(std::string_view text, const std::vector<int64_t>& cuts);

// Calls work(thread, piece) for every piece; each thread takes the next that is left. An exception of a worker stops
// the others and is thrown again here. Throws as run_together().
void for_each_piece(int threads, int64_t pieces, const std::function<void(int, int64_t)>& work);

bool is_utf8(std::string_view bytes);

// Every part that is not UTF-8 becomes U+FFFD, as bytes.decode(errors="replace") of Python has it.
std::string replace_invalid(std::string_view bytes);

}  // namespace fastrnn::word2vec
