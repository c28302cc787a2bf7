// Word2Vec's training by itself, without Python, for ThreadSanitizer: see tests/sanitize/__main__.py.
//
// In order, any number of workers must find the same vectors to the last bit, and without a race. Without order the
// workers race by design (Hogwild): races.txt names that function, and the numbers must stay finite.
#include <string.h>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "../../csrc/word2vec/training/train.h"

namespace fastrnn {

namespace generic {
extern const word2vec::Train train_word2vec;
}

namespace {

using word2vec::Alias, word2vec::Loss, word2vec::Training;

constexpr int64_t words = 300, sentences = 120, length = 25, width = 32, blocks = 8;

std::vector<float> train(bool skip_gram, bool softmax, bool deterministic, int workers) {
  std::mt19937 generator(1);
  std::vector<int32_t> ids(sentences * length), nodes(2 * words);
  for (int32_t& id : ids) id = int32_t(generator() % words * (generator() % words) / words);
  std::vector<int64_t> offsets(sentences + 1), of_block(blocks + 1), path_offsets(words + 1);
  for (int64_t s = 0; s <= sentences; ++s) offsets[s] = s * length;
  for (int64_t b = 0; b <= blocks; ++b) of_block[b] = b * sentences / blocks;
  for (int64_t w = 0; w <= words; ++w) path_offsets[w] = 2 * w;
  for (int64_t w = 0; w < words; ++w) nodes[2 * w] = 0, nodes[2 * w + 1] = int32_t(1 + w % (words - 2));
  std::vector<uint8_t> codes(2 * words);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = i % 3 == 0;
  std::vector<Alias> alias(words);
  for (uint32_t w = 0; w < words; ++w) alias[w] = {1u << 31, (w + 7) % uint32_t(words)};
  const std::vector<uint32_t> keep(words, UINT32_MAX);
  std::vector<float> syn0(words * width), syn1(words * width);
  for (float& x : syn0) x = float(generator() % 1000) / 1e4f;

  Training t{};
  t.ids = ids.data(), t.offsets = offsets.data(), t.blocks = of_block.data();
  t.block_count = blocks, t.longest_block = sentences / blocks * (length + 1);
  t.syn0 = syn0.data(), t.width = width;
  t.skip_gram = skip_gram, t.cbow_mean = t.shrink_windows = true, t.deterministic = deterministic;
  t.window = 5, t.workers = workers, t.reach = 5;
  t.keep = keep.data(), t.words = words;
  if (softmax) {
    t.syn1 = syn1.data(), t.longest_path = 2;
    t.path_offsets = path_offsets.data(), t.path_nodes = nodes.data(), t.path_codes = codes.data();
  } else {
    t.syn1neg = syn1.data(), t.negative = 5, t.alias = alias.data();
  }
  int64_t unknown = -1;
  t.unknown = &unknown;
  t.key = 3, t.alpha_begin = 0.025, t.alpha_end = 0.02;
  t.report = [](void*, int64_t, Loss) { return true; };
  generic::train_word2vec(t);
  syn0.insert(syn0.end(), syn1.begin(), syn1.end());
  return syn0;
}

int compare() {
  int wrong = 0;
  for (bool skip_gram : {false, true})
    for (bool softmax : {false, true}) {
      const std::vector<float> alone = train(skip_gram, softmax, true, 1);
      for (int workers : {2, 4}) {
        const std::vector<float> team = train(skip_gram, softmax, true, workers);
        wrong += memcmp(team.data(), alone.data(), alone.size() * sizeof(float)) != 0;
        for (float x : train(skip_gram, softmax, false, workers)) wrong += !std::isfinite(x);
      }
    }
  printf("word2vec: %d wrong\n", wrong);
  return wrong > 0;
}

}  // namespace
}  // namespace fastrnn

int main() { return fastrnn::compare(); }
