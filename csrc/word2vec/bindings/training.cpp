#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <tuple>

#include "../worker_threads.h"
#include "bindings.h"
#include "training_arrays.h"

namespace fastrnn::word2vec {

namespace {

// Words in a block of whole sentences, which a worker takes at a time. The learning rate changes after each block.
constexpr int64_t words_per_block = 10000;
constexpr int64_t longest_sentence = int64_t{1} << 28;  // so that an int32 can number the windows of several blocks
constexpr int most_negatives = 1000;

// Where blocks begin. Sets the members of Training that depend on the lengths of sentences and blocks.
std::vector<int64_t> blocks_of(const Array<int64_t>& offsets_of_sentences, Training& t) {
  const int64_t* offsets = offsets_of_sentences.data();
  const int64_t sentences = offsets_of_sentences.size() - 1;
  std::vector<int64_t> blocks{0};
  t.reach = 1;
  for (int64_t s = 0; s < sentences; ++s) {
    const int64_t first = blocks.back(), length = offsets[s + 1] - offsets[s];
    if (length > longest_sentence)
      refuse("a sentence may have at most " + std::to_string(longest_sentence) + " words, got " +
             std::to_string(length));
    if (s > first && offsets[s + 1] - offsets[first] > words_per_block) blocks.push_back(s);
    t.reach = std::max(t.reach, std::min<int64_t>(t.window, length - 1));
  }
  if (sentences > 0) blocks.push_back(sentences);
  for (size_t b = 0; b + 1 < blocks.size(); ++b) {
    const int64_t words = offsets[blocks[b + 1]] - offsets[blocks[b]] + blocks[b + 1] - blocks[b];
    t.longest_block = std::max(t.longest_block, words);
  }
  return blocks;
}

// Checks for Ctrl-C and reports progress to Python, at most ten times a second.
struct Reporter {
  py::object progress;
  std::exception_ptr error;
  std::chrono::steady_clock::time_point next = std::chrono::steady_clock::now();

  bool operator()(int64_t words_done, Loss loss) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next) return true;
    next = now + std::chrono::milliseconds(100);
    py::gil_scoped_acquire gil;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!progress.is_none()) progress(words_done, loss.sum, loss.pairs);
      return true;
    } catch (...) {
      error = std::current_exception();
      return false;
    }
  }
};

py::tuple train_epoch(const Array<int32_t>& ids, const Array<int64_t>& offsets, Array<float> syn0,
                      std::optional<Array<float>> syn1, std::optional<Array<float>> syn1neg,
                      const Array<uint32_t>& keep, const std::optional<Array<uint32_t>>& alias,
                      const std::optional<std::tuple<Array<int64_t>, Array<int32_t>, Array<uint8_t>>>& paths,
                      const std::optional<Array<float>>& lock, bool skip_gram, bool cbow_mean, bool shrink_windows,
                      int window, int negative, uint64_t key, double alpha_begin, double alpha_end, int workers,
                      bool deterministic, py::object progress) {
  Training t{};
  t.skip_gram = skip_gram;
  t.cbow_mean = cbow_mean;
  t.shrink_windows = shrink_windows;
  t.deterministic = deterministic;
  t.window = window;
  t.workers = workers;
  t.key = key;
  t.alpha_begin = alpha_begin;
  t.alpha_end = alpha_end;
  require(window >= 1, "window must be 1 or more, got " + std::to_string(window));
  checked_threads(workers);
  require(std::isfinite(alpha_begin) && std::isfinite(alpha_end), "the learning rate must be finite");

  require(syn0.ndim() == 2, "syn0 must be a matrix, got shape " + shape_of(syn0));
  t.words = syn0.shape(0);
  t.width = syn0.shape(1);
  require(t.words >= 1 && t.words <= INT32_MAX, "syn0 must have from 1 to 2^31 - 1 rows, got " + shape_of(syn0));
  require(t.width >= line && t.width % line == 0, "syn0 must have rows of whole cache lines, got " + shape_of(syn0));
  t.syn0 = trained("syn0", syn0, t.words, t.width);
  require(ids.ndim() == 1, "ids must be a vector, got shape " + shape_of(ids));
  require_offsets("offsets", offsets, ids.size());
  require_size("keep", keep, t.words);
  t.ids = ids.data();
  t.offsets = offsets.data();
  t.keep = keep.data();

  if (lock) {
    require_size("lock", *lock, t.words);
    t.lock = lock->data();
  }

  require(syn1 || syn1neg, "give syn1, syn1neg or both; without them there is nothing to train");
  if (syn1neg) {
    require(negative >= 1 && negative <= most_negatives, "with syn1neg, negative must be from 1 to " +
                                                             std::to_string(most_negatives) + ", got " +
                                                             std::to_string(negative));
    require(alias.has_value(), "syn1neg needs alias");
    t.syn1neg = trained("syn1neg", *syn1neg, t.words, t.width);
    t.negative = negative;
    t.alias = alias_table(*alias, t.words);
  }
  if (syn1) {
    require(paths.has_value(), "syn1 needs paths");
    t.syn1 = trained("syn1", *syn1, std::max<int64_t>(t.words - 1, 1), t.width);
    const auto& [path_offsets, nodes, codes] = *paths;
    Paths{path_offsets, nodes, codes}.give_to(t, syn1->shape(0));
  }
  const std::vector<int64_t> blocks = blocks_of(offsets, t);
  t.blocks = blocks.data();
  t.block_count = int64_t(blocks.size()) - 1;
  int64_t unknown = -1;
  t.unknown = &unknown;

  Reporter reporter{std::move(progress), nullptr};
  t.context = &reporter;
  t.report = [](void* context, int64_t done, Loss loss) { return (*static_cast<Reporter*>(context))(done, loss); };
  Loss loss;
  {
    py::gil_scoped_release release;
    loss = train(t);
  }
  if (reporter.error) std::rethrow_exception(reporter.error);
  if (unknown >= 0)
    refuse("ids[" + std::to_string(unknown) + "] must be from 0 to " + std::to_string(t.words - 1) + ", got " +
           std::to_string(ids.data()[unknown]));
  return py::make_tuple(loss.sum, loss.pairs);
}

}  // namespace

void bind_training(py::module_& m) {
  using namespace py::literals;
  m.attr("MOST_THREADS") = most_threads;
  m.attr("MOST_NEGATIVES") = most_negatives;
  m.attr("LINE") = line;
  m.def("train_epoch", &train_epoch, "ids"_a.noconvert(), "offsets"_a.noconvert(), "syn0"_a.noconvert(),
        "syn1"_a.noconvert(), "syn1neg"_a.noconvert(), "keep"_a.noconvert(), "alias"_a.noconvert(),
        "paths"_a.noconvert(), "lock"_a.noconvert(), "skip_gram"_a, "cbow_mean"_a, "shrink_windows"_a, "window"_a,
        "negative"_a, "key"_a, "alpha_begin"_a, "alpha_end"_a, "workers"_a, "deterministic"_a, "progress"_a);
}

}  // namespace fastrnn::word2vec
