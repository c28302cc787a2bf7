#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "python.h"
#include "training.h"

namespace py = pybind11;

namespace fastrnn::word2vec {

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

// Words in a block of whole sentences: what one worker takes at a time, and after which the learning rate falls.
constexpr int64_t words_per_block = 10000;

std::vector<int64_t> blocks_of(const int64_t* offsets, int64_t sentences, int64_t& longest) {
  std::vector<int64_t> blocks{0};
  longest = 0;
  for (int64_t s = 0; s < sentences; ++s) {
    const int64_t first = blocks.back();
    if (s > first && offsets[s + 1] - offsets[first] > words_per_block) blocks.push_back(s);
  }
  if (sentences > 0) blocks.push_back(sentences);
  for (size_t b = 0; b + 1 < blocks.size(); ++b) {
    const int64_t words = offsets[blocks[b + 1]] - offsets[blocks[b]] + blocks[b + 1] - blocks[b];
    if (words > longest) longest = words;
  }
  return blocks;
}

// Looks for Ctrl-C and tells Python how far the training is, at most ten times a second.
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

template <class T>
T* rows_or_null(std::optional<Array<T>>& array) {
  return array ? array->mutable_data() : nullptr;
}

py::tuple train_epoch(Array<int32_t> ids, Array<int64_t> offsets, Array<float> syn0, std::optional<Array<float>> syn1,
                      std::optional<Array<float>> syn1neg, Array<uint32_t> keep, py::object alias, py::object paths,
                      bool skip_gram, bool cbow_mean, bool shrink_windows, int window, int negative, uint64_t key,
                      double alpha_begin, double alpha_end, int workers, bool deterministic, py::object progress) {
  Training t{};
  std::vector<int64_t> blocks = blocks_of(offsets.data(), offsets.size() - 1, t.longest_block);
  t.ids = ids.data();
  t.offsets = offsets.data();
  t.blocks = blocks.data();
  t.block_count = int64_t(blocks.size()) - 1;
  t.syn0 = syn0.mutable_data();
  t.syn1 = rows_or_null(syn1);
  t.syn1neg = rows_or_null(syn1neg);
  t.words = syn0.shape(0);
  t.width = syn0.shape(1);
  t.skip_gram = skip_gram;
  t.cbow_mean = cbow_mean;
  t.shrink_windows = shrink_windows;
  t.deterministic = deterministic;
  t.window = window;
  t.workers = workers;
  t.keep = keep.data();
  t.negative = t.syn1neg ? negative : 0;
  if (t.negative) {
    auto table = alias.cast<Array<uint32_t>>();
    t.alias = reinterpret_cast<const Alias*>(table.data());
  }
  if (t.syn1) {
    py::tuple csr = paths;
    auto path_offsets = csr[0].cast<Array<int64_t>>();
    t.path_offsets = path_offsets.data();
    t.path_nodes = csr[1].cast<Array<int32_t>>().data();
    t.path_codes = csr[2].cast<Array<uint8_t>>().data();
    for (int64_t w = 0; w < t.words; ++w) {
      const int length = int(t.path_offsets[w + 1] - t.path_offsets[w]);
      if (length > t.longest_path) t.longest_path = length;
    }
  }
  t.key = key;
  t.alpha_begin = alpha_begin;
  t.alpha_end = alpha_end;

  Reporter reporter{std::move(progress), nullptr};
  t.context = &reporter;
  t.report = [](void* context, int64_t done, Loss loss) { return (*static_cast<Reporter*>(context))(done, loss); };
  Loss loss;
  {
    py::gil_scoped_release release;
    loss = train(t);
  }
  if (reporter.error) std::rethrow_exception(reporter.error);
  return py::make_tuple(loss.sum, loss.pairs);
}

}  // namespace

void bind_training(py::module_& m) {
  using namespace py::literals;
  m.def("train_epoch", &train_epoch, "ids"_a.noconvert(), "offsets"_a.noconvert(), "syn0"_a.noconvert(),
        "syn1"_a.noconvert(), "syn1neg"_a.noconvert(), "keep"_a.noconvert(), "alias"_a, "paths"_a, "skip_gram"_a,
        "cbow_mean"_a, "shrink_windows"_a, "window"_a, "negative"_a, "key"_a, "alpha_begin"_a, "alpha_end"_a,
        "workers"_a, "deterministic"_a, "progress"_a);
}

}  // namespace fastrnn::word2vec
