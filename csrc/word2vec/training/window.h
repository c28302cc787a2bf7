// A window: input rows of syn0 that should predict output rows of syn1 or syn1neg, each with a sign: +1 for observed
// outputs, -1 for negatives. Skip-gram and CBOW, negative sampling and hierarchical softmax differ only in the rows of
// their windows.
//
// Negatives are drawn once per centre word and shared by its whole context (Ji et al., arXiv:1604.04661), so the work
// is three small matrix products over rows in the first cache (docs/adr/0008-word2vec.md).
#pragma once
#include "products.h"
#include "random.h"

namespace fastrnn::FASTRNN_TARGET {

struct Window {
  int contexts, inputs, outputs;
  float** context;      // rows of syn0
  float** input;        // skip-gram: the same rows, each once; CBOW: the single row `hidden`
  float* times;         // how often each input occurs
  float** output;       // rows of syn1 and syn1neg, each once
  float* sign;          // of each output
  float* output_times;  // how often each output occurs
};

// Intermediate results between the products of the current window.
struct Products {
  float* hidden;       // CBOW: the mean or sum of the context
  float* dots;         // the dot products, tile after tile
  float* coefficient;  // inputs x outputs: the step of each dot product, against its gradient
  float* before;       // a register for each input
  int64_t stride;      // from one input's coefficients to the next one's
};

// Distinct rows, and how often each was added. A row that occurs twice is processed once with twice the weight, because
// its dot products are the same.
struct DistinctRows {
  float** row;
  float* times;
  int count = 0;
  uint64_t seen = 0;  // bits for the last six bits of each number, to skip most searches

  // Returns whether the row is new.
  FASTRNN_INLINE bool add(float* added, int64_t number) {
    const uint64_t bit = uint64_t{1} << (number & 63);
    if (seen & bit)
      for (int i = 0; i < count; ++i)
        if (row[i] == added) {
          ++times[i];
          return false;
        }
    seen |= bit;
    row[count] = added;
    times[count++] = 1;
    return true;
  }
};

// Prefetches columns of the rows that no earlier window has loaded: the outputs, and the last word of the context.
FASTRNN_INLINE void fetch(const Window& w, int64_t begin, int64_t end) {
  for (int64_t k = begin; k < end; k += line) {
    for (int j = 0; j < w.outputs; ++j) __builtin_prefetch(w.output[j] + k, 1);
    if (w.contexts > 0) __builtin_prefetch(w.context[w.contexts - 1] + k, 1);
  }
}

// Calls use(word) for each context word of the word at `place`.
template <class Use>
FASTRNN_INLINE void for_each_context(const Training& t, const Drawn& drawn, int64_t place, Use use) {
  const int32_t* word = drawn.word + place;
  const int reach = reach_of(t, drawn.random[place]);
  int before = 0;
  while (before < reach && word[-before - 1] >= 0) ++before;
  for (int i = before; i > 0; --i) use(word[-i]);
  for (int i = 1; i <= reach && word[i] >= 0; ++i) use(word[i]);
}

// Calls node(number, sign) for each row of syn1 that a word predicts, and other(number, sign) for those of syn1neg.
template <class Node, class Other>
FASTRNN_INLINE void for_each_output(const Training& t, const Drawn& drawn, int64_t place, Node node, Other other) {
  const int64_t centre = drawn.word[place];
  if (t.path_offsets)
    for (int64_t i = t.path_offsets[centre]; i < t.path_offsets[centre + 1]; ++i)
      node(t.path_nodes[i], t.path_codes[i] ? -1.f : 1.f);
  if (t.negative > 0) other(int32_t(centre), 1.f);
  for (int n = 0; n < t.negative; ++n) {
    const int32_t drawn_word = drawn.negative[place * t.negative + n];
    if (drawn_word != centre) other(drawn_word, -1.f);
  }
}

// Chooses the rows of the window whose centre is at `place`. Without inputs there is nothing to train.
inline void choose_rows(const Training& t, const Drawn& drawn, int64_t place, Window& w) {
  w.contexts = w.inputs = w.outputs = 0;
  if (drawn.word[place] < 0) return;
  DistinctRows inputs{w.input, w.times}, outputs{w.output, w.output_times};
  for_each_context(t, drawn, place, [&](int64_t word) {
    w.context[w.contexts] = t.syn0 + word * t.width;
    if (t.skip_gram) inputs.add(w.context[w.contexts], word);
    ++w.contexts;
  });
  if (w.contexts == 0) return;
  const auto add_output = [&](float* rows) {
    return [&, rows](int64_t number, float sign) {
      if (outputs.add(rows + number * t.width, number)) w.sign[outputs.count - 1] = sign;
    };
  };
  for_each_output(t, drawn, place, add_output(t.syn1), add_output(t.syn1neg));
  w.inputs = t.skip_gram ? inputs.count : 1;
  w.outputs = outputs.count;
}

// Calls use(tile, i, j, Constant<inputs>, Constant<outputs>) for the tiles of a window, starting at input i, output j.
template <class Tile, class Use>
FASTRNN_INLINE void for_each_tile(const Window& w, Use use) {
  int tile = 0;
  for (int i = 0; i < w.inputs; i += Tile::inputs)
    for (int j = 0; j < w.outputs; j += Tile::outputs, ++tile)
      with_constant<Tile::inputs>(w.inputs - i, [&](auto inputs) __attribute__((always_inline)) {
        with_constant<Tile::outputs>(
            w.outputs - j, [&](auto outputs) __attribute__((always_inline)) { use(tile, i, j, inputs, outputs); });
      });
}

template <bool skip_gram>
inline void multiply(const Training& t, const Window& w, const Products& p) {
  if (w.inputs == 0) return;
  if (!skip_gram) sum_rows(p.hidden, w.context, w.contexts, t.cbow_mean ? 1.f / w.contexts : 1.f, t.width);
  using Tile = TileOf<skip_gram>;
  for_each_tile<Tile>(w, [&](int tile, int i, int j, auto inputs, auto outputs) __attribute__((always_inline)) {
    constexpr int I = decltype(inputs)::value, O = decltype(outputs)::value;
    const Floats::Register dot = dot_products<Tile, I, O>(w.input + i, w.output + j, t.width);
    Floats(dot).store(p.dots + tile * Floats::lanes);
  });
}

// The number of each output, or of each input, in the lanes of a tile; 0 in lanes without a pair. Reads a register.
template <class Tile, int Inputs, int Outputs>
FASTRNN_INLINE Floats::Register by_output(const float* number) {
  VectorTypes<float>::Integers column, mask;
  for (int lane = 0; lane < Floats::lanes; ++lane) {
    column[lane] = lane % Tile::outputs;
    mask[lane] = lane / Tile::outputs < Inputs && lane % Tile::outputs < Outputs ? -1 : 0;
  }
  return (Floats::Register)((VectorTypes<float>::Integers)__builtin_shuffle(Floats::load(number).v, column) & mask);
}

template <class Tile>
FASTRNN_INLINE Floats::Register by_input(const float* number) {
  VectorTypes<float>::Integers row;
  for (int lane = 0; lane < Floats::lanes; ++lane) row[lane] = lane / Tile::outputs;
  return __builtin_shuffle(Floats::load(number).v, row);
}

// A pair that is wrong by more than this, sigmoid(x) = 0.0025 for what was seen, takes no step. gensim's pairs beyond
// 6 do not either, on both sides. So too large a learning rate ends in large vectors and not in infinite ones.
constexpr float largest_error = 6;

// From the dot products: returns the loss, and writes the step against its gradient with respect to each, which is
// -(1 - sigmoid(x)) for what was seen, sigmoid(x) for what was not (arXiv:1310.4546, equation 4).
template <bool skip_gram>
inline float loss_and_steps(float alpha, const Window& w, const Products& p) {
  using Tile = TileOf<skip_gram>;
  Floats::Register loss{};
  for_each_tile<Tile>(w, [&](int tile, int i, int j, auto inputs, auto outputs) __attribute__((always_inline)) {
    constexpr int I = decltype(inputs)::value, O = decltype(outputs)::value;
    const Floats::Register dot = Floats::load(p.dots + tile * Floats::lanes).v;
    const Floats::Register sign = by_output<Tile, I, O>(w.sign + j);
    const Floats::Register times = by_output<Tile, I, O>(w.output_times + j) * by_input<Tile>(w.times + i);
    const Floats::Register z = sign * dot, zero{};
    const Outcome result = outcome(z);
    loss += times * result.loss;
    float step[Floats::lanes];
    Floats(z < zero - largest_error ? zero : alpha * times * sign * result.wrong).store(step);
#pragma GCC unroll 4
    for (int row = 0; row < I; ++row)
      __builtin_memcpy(&p.coefficient[(i + row) * p.stride + j], &step[row * Tile::outputs],
                       Tile::outputs * sizeof(float));
  });
  float sum = 0;
  for (int lane = 0; lane < Floats::lanes; ++lane) sum += loss[lane];
  return sum;
}

// One step of gradient descent, a register's width of columns at a time. Meanwhile the same columns of a later window's
// rows are prefetched. If not all outputs fit in registers, p.before keeps the old inputs.
template <bool skip_gram, bool all_at_once>
inline void update(const Training& t, const Window& w, const Window& later, const Products& p) {
  for (int64_t k = 0; k < t.width; k += Floats::lanes) {
    if (k % line == 0) fetch(later, k, k + 1);
    if (skip_gram && !all_at_once)
      for (int i = 0; i < w.inputs; ++i) Floats::load(w.input[i] + k).store(p.before + i * Floats::lanes);
    Floats::Register gradient{};  // CBOW's
    const auto input = [&](int i) __attribute__((always_inline)) {
      return Floats::load(skip_gram && !all_at_once ? p.before + i * Floats::lanes : w.input[i] + k).v;
    };
    const auto move = [&](int i, Floats::Register by) __attribute__((always_inline)) {
      if (skip_gram)
        Floats(Floats::load(w.input[i] + k).v + by).store(w.input[i] + k);
      else
        gradient += by;
    };
    int first = 0;
    do {
      with_constant<outputs_at_once>(w.outputs - first, [&](auto outputs) __attribute__((always_inline)) {
        gradient_step<decltype(outputs)::value>(w.inputs, input, move, w.output + first, k, p.coefficient + first,
                                                p.stride);
      });
      first += outputs_at_once;
    } while (!all_at_once && first < w.outputs);
    if (skip_gram) continue;
    // Like word2vec.c and gensim, give every word the whole gradient of a mean, but a share of the gradient of a sum.
    if (!t.cbow_mean) gradient /= Floats::Register{} + float(w.contexts);
    for (int i = 0; i < w.contexts; ++i) Floats(Floats::load(w.context[i] + k).v + gradient).store(w.context[i] + k);
  }
}

template <bool skip_gram>
inline void update(const Training& t, const Window& w, const Window& later, const Products& p) {
  if (w.inputs == 0)
    fetch(later, 0, t.width);
  else if (w.outputs <= outputs_at_once)
    update<skip_gram, true>(t, w, later, p);
  else
    update<skip_gram, false>(t, w, later, p);
}

}  // namespace fastrnn::FASTRNN_TARGET
