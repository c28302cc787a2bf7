// Joining phrases in Python lists of words.
#pragma once
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <cmath>
#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

#include "../corpus/text.h"
#include "../phrases/joiner.h"
#include "../phrases/phrases.h"
#include "../worker_threads.h"
#include "sentences.h"

namespace fastrnn::word2vec {

// While it lives, creating lists does not start the garbage collector, which could run arbitrary Python code.
class NoGarbageCollection {
 public:
  NoGarbageCollection() : was_on_(PyGC_Disable()) {}
  ~NoGarbageCollection() {
    if (was_on_) PyGC_Enable();
  }

 private:
  bool was_on_;
};

// A PhraseJoiner for Python lists. A word stays the same object; each phrase is one object, made at its first
// occurrence.
class ListJoiner {
 public:
  explicit ListJoiner(std::shared_ptr<const Phrases> phrases)
      : joiner_(
            phrases->options().delimiter, phrases->options().connectors,
            [phrases](auto first, auto last, auto joined) { return !std::isnan(phrases->score(first, last, joined)); }),
        asked_(phrases) {
    for (const Phrases::Candidate& candidate : phrases->candidates())
      joiner_.add(phrases->text(candidate.pair), candidate.certain);
  }
  ListJoiner(std::string delimiter, const std::vector<std::string>& connectors, const std::vector<std::string>& phrases)
      : joiner_(delimiter.empty() ? throw std::invalid_argument("delimiter must not be empty") : std::move(delimiter),
                connectors, nullptr) {
    for (const std::string& phrase : phrases) joiner_.add(phrase, true);
  }

  pybind11::list join_sentence(const pybind11::handle& sentence) { return join({as_words(sentence)}, 1)[0]; }

  // Joins the next sentences of an iterator; an empty list at its end.
  pybind11::list join_sentences(const pybind11::iterator& sentences, int threads) {
    return join(next_sentences(sentences), threads);
  }

  // The first word, the last word and the text of each phrase in a sentence.
  std::vector<std::array<pybind11::str, 3>> phrases_of(const pybind11::handle& sentence) {
    const pybind11::object words = as_words(sentence);
    Reader reader;
    std::vector<std::array<pybind11::str, 3>> found;
    for (const Joined& each : read(reader, words)) {
      if (each.phrase < 0) continue;
      const auto word = [&](uint32_t i) { return pybind11::reinterpret_borrow<pybind11::str>(item(words, i)); };
      found.push_back(
          {word(each.first), word(each.last), pybind11::reinterpret_borrow<pybind11::str>(joined(words, each))});
    }
    return found;
  }

  pybind11::list join_text(const pybind11::buffer& text, const std::vector<int64_t>& cuts, int threads) const {
    const Text bytes(text);
    check_cuts(bytes.view, cuts);
    std::vector<std::string> parts;
    {
      pybind11::gil_scoped_release unlocked;
      std::shared_lock<std::shared_mutex> lock;
      if (asked_) lock = std::shared_lock(asked_->changing);
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
  using Sentence = std::vector<Joined>;
  // What a thread needs to read a sentence.
  struct Reader {
    std::vector<PhraseJoiner::Word> words;
    std::string scratch;
  };

  Sentence read(Reader& reader, const pybind11::object& words) const {
    Utf8 utf8;
    reader.words.clear();
    for_each_word(words, utf8, [&](std::string_view word) { reader.words.push_back(PhraseJoiner::word(word)); });
    Sentence sentence;
    sentence.reserve(reader.words.size());
    joiner_.join(reader.words, reader.scratch, [&](int64_t first, int64_t last, int64_t phrase) {
      sentence.push_back({uint32_t(first), uint32_t(last), phrase});
    });
    return sentence;
  }

  pybind11::list list(const pybind11::object& words, const Sentence& sentence) {
    pybind11::list joined(sentence.size());
    for (size_t i = 0; i < sentence.size(); ++i)
      PyList_SET_ITEM(joined.ptr(), i, Py_NewRef(this->joined(words, sentence[i])));
    return joined;
  }

  // Keeps the GIL, so that no list changes while threads read it. Only this thread may create lists: it creates those
  // that are ready, then reads the next sentence itself.
  pybind11::list join(const std::vector<pybind11::object>& sentences, int threads) {
    struct Read {
      Sentence sentence;
      std::atomic<bool> is_there = false;
    };
    const NoGarbageCollection off;
    if (int(readers_.size()) < threads) readers_.resize(checked_threads(threads));
    std::vector<Read> read(sentences.size());
    pybind11::list lists(sentences.size());
    size_t made = 0;
    auto make_lists = [&] {
      for (; made < read.size() && read[made].is_there.load(std::memory_order_acquire); ++made)
        PyList_SET_ITEM(lists.ptr(), made, list(sentences[made], read[made].sentence).release().ptr());
    };
    for_each_piece(threads, int64_t(sentences.size()), [&](int thread, int64_t i) {
      read[i].sentence = this->read(readers_[thread], sentences[i]);
      read[i].is_there.store(true, std::memory_order_release);
      if (thread == 0) make_lists();
    });
    make_lists();
    return lists;
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
  std::shared_ptr<const Phrases> asked_;   // null: all phrases are certain
  std::vector<Reader> readers_;            // one for each thread
  std::vector<pybind11::object> phrases_;  // by their numbers
};

}  // namespace fastrnn::word2vec
