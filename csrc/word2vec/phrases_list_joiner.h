// Joining the phrases of Python's lists of words.
#pragma once
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "corpus.h"
#include "phrases.h"
#include "phrases_joiner.h"
#include "python_sentences.h"

namespace fastrnn::word2vec {

// A PhraseJoiner for Python's lists: a word stays the same object, and each phrase is one object, made when first met.
class ListJoiner {
 public:
  explicit ListJoiner(std::shared_ptr<const Phrases> phrases)
      : joiner_(phrases->options().delimiter, phrases->options().connectors,
                [phrases](auto first, auto last, auto joined) {
                  return !std::isnan(phrases->score(first, last, joined));
                }) {
    for (const Phrases::Candidate& candidate : phrases->candidates())
      joiner_.add(phrases->text(candidate.pair), candidate.certain);
  }
  ListJoiner(std::string delimiter, const std::vector<std::string>& connectors, const std::vector<std::string>& phrases)
      : joiner_(std::move(delimiter), connectors, nullptr) {
    for (const std::string& phrase : phrases) joiner_.add(phrase, true);
  }

  pybind11::list join_sentence(const pybind11::handle& sentence) { return join({as_words(sentence)}, 1)[0]; }

  // The next sentences of an iterator; none if there are no more.
  pybind11::list join_sentences(const pybind11::iterator& sentences, int threads) {
    return join(next_sentences(sentences), threads);
  }

  // Of each phrase of a sentence, its first and its last word and its text.
  std::vector<std::array<pybind11::str, 3>> phrases_of(const pybind11::handle& sentence) {
    const pybind11::object words = as_words(sentence);
    Reader reader;
    read(reader, words);
    std::vector<std::array<pybind11::str, 3>> found;
    for (const Joined& each : reader.joined) {
      if (each.phrase < 0) continue;
      const auto word = [&](uint32_t i) { return pybind11::reinterpret_borrow<pybind11::str>(item(words, i)); };
      found.push_back(
          {word(each.first), word(each.last), pybind11::reinterpret_borrow<pybind11::str>(joined(words, each))});
    }
    return found;
  }

  pybind11::list join_text(const pybind11::buffer& text, const std::vector<int64_t>& cuts, int threads) const {
    const Text bytes(text);
    std::vector<std::string> parts;
    {
      pybind11::gil_scoped_release unlocked;
      parts = joiner_.join(bytes.view, cuts, threads);
    }
    pybind11::list all;
    for (const std::string& part : parts) all.append(pybind11::bytes(part));
    return all;
  }

 private:
  // A word, or the words that are a phrase.
  struct Joined {
    uint32_t first, last;
    int64_t phrase;  // its number, or -1
  };
  // What one thread reads.
  struct Reader {
    std::vector<Joined> joined;  // of all its sentences
    std::vector<PhraseJoiner::Word> sentence;
    std::string scratch;
  };

  void read(Reader& reader, const pybind11::object& words) const {
    Utf8 utf8;
    reader.sentence.clear();
    for_each_word(words, utf8, [&](std::string_view word) { reader.sentence.push_back(PhraseJoiner::word(word)); });
    joiner_.join(reader.sentence, reader.scratch, [&](int64_t first, int64_t last, int64_t phrase) {
      reader.joined.push_back({uint32_t(first), uint32_t(last), phrase});
    });
  }

  // With the GIL, so that no list changes while threads read it.
  pybind11::list join(const std::vector<pybind11::object>& sentences, int threads) {
    struct Place {
      int reader;
      size_t begin, end;  // in its words
    };
    if (int(readers_.size()) < threads) readers_.resize(threads);
    for (Reader& reader : readers_) reader.joined.clear();
    std::vector<Place> places(sentences.size());
    for_each_piece(threads, int64_t(sentences.size()), [&](int thread, int64_t i) {
      Reader& reader = readers_[thread];
      const size_t begin = reader.joined.size();
      read(reader, sentences[i]);
      places[i] = {thread, begin, reader.joined.size()};
    });
    // A new list may set off the garbage collector, and that any program, which may even come here again. So first all
    // words are taken hold of, and after that nothing is used that is not of this call.
    std::vector<pybind11::object> words;
    for (size_t i = 0; i < sentences.size(); ++i)
      for (size_t j = places[i].begin; j < places[i].end; ++j)
        words.push_back(
            pybind11::reinterpret_borrow<pybind11::object>(joined(sentences[i], readers_[places[i].reader].joined[j])));
    pybind11::list all(sentences.size());
    pybind11::object* word = words.data();
    for (size_t i = 0; i < sentences.size(); ++i) {
      const size_t size = places[i].end - places[i].begin;
      pybind11::list sentence(size);
      for (size_t j = 0; j < size; ++j) PyList_SET_ITEM(sentence.ptr(), j, (word++)->release().ptr());
      PyList_SET_ITEM(all.ptr(), i, sentence.release().ptr());
    }
    return all;
  }

  static PyObject* item(const pybind11::object& words, uint32_t i) { return PySequence_Fast_GET_ITEM(words.ptr(), i); }

  PyObject* joined(const pybind11::object& words, const Joined& each) {
    if (each.phrase < 0) return item(words, each.first);
    if (size_t(each.phrase) >= phrases_.size()) phrases_.resize(each.phrase + 1);
    pybind11::object& phrase = phrases_[each.phrase];
    if (!phrase) {
      Utf8 utf8;
      std::string text(utf8(item(words, each.first)));
      for (uint32_t i = each.first + 1; i <= each.last; ++i) (text += joiner_.delimiter()) += utf8(item(words, i));
      phrase = to_str(text);
    }
    return phrase.ptr();
  }

  PhraseJoiner joiner_;
  std::vector<Reader> readers_;            // one for each thread
  std::vector<pybind11::object> phrases_;  // by their numbers
};

}  // namespace fastrnn::word2vec
