// The format of a text corpus: words are separated by white space, as for Python's bytes.split(). Each line is a
// sentence; a line of more than 10,000 words makes several.
//
// Threads share a text in pieces that begin and end at sentences. So a thread needs no data from its neighbours, and
// the result does not depend on the number of threads.
#pragma once
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fastrnn::word2vec {

constexpr int64_t kWordsPerSentence = 10000;
// Longer words are refused: such a file is not text, and the word would have to fit in memory.
constexpr size_t kLongestWord = size_t{1} << 24;

inline bool is_space(char c) { return c == ' ' || static_cast<unsigned char>(c - '\t') <= '\r' - '\t'; }

// Reads the sentences of a text that begins at a sentence. Calls word(std::string_view) for each word and
// end_of_sentence() after the last word of each sentence.
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

// Where to cut a text that begins at a sentence: at 0, then at ends of sentences about `piece_size` bytes apart, up to
// the last sentence that is known to be complete; if `is_last`, up to the end of the text. Takes linear time. Throws
// std::invalid_argument if the text ends in a word longer than kLongestWord.
std::vector<int64_t> cut(std::string_view text, bool is_last, int64_t piece_size);

// Throws std::invalid_argument unless the cuts are increasing positions within the text.
void check_cuts(std::string_view text, const std::vector<int64_t>& cuts);

// Calls work(thread, piece) for every piece; each thread takes the next remaining piece. An exception in one thread
// stops the others and is rethrown here. Throws as run_together().
void for_each_piece(int threads, int64_t pieces, const std::function<void(int, int64_t)>& work);

bool is_utf8(std::string_view bytes);

// Replaces invalid UTF-8 by U+FFFD, like Python's bytes.decode(errors="replace").
std::string replace_invalid(std::string_view bytes);

}  // namespace fastrnn::word2vec
