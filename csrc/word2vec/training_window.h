// A window: some input rows of syn0 that shall predict some output rows of syn1 or syn1neg, each with a sign: +1 for
// what was seen, -1 for what was not. Skip-gram and CBOW, negative sampling and hierarchical softmax differ only in the
// rows they put into it.
//
// The negatives are drawn once per centre word and shared by its whole context (Ji et al., arXiv:1604.04661), so the
// work is three small matrix products over rows in the nearest cache (docs/adr/0008-word2vec.md).
#pragma once
#include "training_products.h"
#include "training_random.h"

namespace fastrnn::FASTRNN_TARGET {

struct Window {
  int contexts, inputs, outputs;
  float loss;
  float** context;      // rows of syn0
  float** input;        // skip-gram: the same rows, each once; CBOW: the one row `hidden`
  float* times;         // how often each input is there
  float* hidden;        // CBOW: the mean or sum of the context
  float** hidden_row;   // where `hidden` is
  float** output;       // rows of syn1 and syn1neg, each once
  float* sign;          // of each output
  float* output_times;  // how often each output is there
  float* coefficient;   // inputs x outputs: the step of each dot product, against its gradient
  int64_t stride;       // from one input's coefficients to the next one's
};

FASTRNN_INLINE void fetch(const float* row, int64_t width) {
  for (int64_t k = 0; k < width; k += 16) __builtin_prefetch(row + k, 1);
}

FASTRNN_INLINE void add_output(const Training& t, Window& w, float* row, float sign) {
  for (int j = 0; j < w.outputs; ++j)
    if (w.output[j] == row) {
      ++w.output_times[j];
      return;
    }
  fetch(row, t.width);
  w.output[w.outputs] = row;
  w.output_times[w.outputs] = 1;
  w.sign[w.outputs++] = sign;
}

// A row that is there twice is worked at once, with twice the weight: its dot products are the same.
FASTRNN_INLINE void add_input(Window& w, float* row) {
  for (int i = 0; i < w.inputs; ++i)
    if (w.input[i] == row) {
      ++w.times[i];
      return;
    }
  w.input[w.inputs] = row;
  w.times[w.inputs++] = 1;
}

inline void fetch_columns(const Window& w, int64_t begin, int64_t count) {
  for (int j = 0; j < w.outputs; ++j) fetch(w.output[j] + begin, count);
  if (w.contexts > 0) fetch(w.context[w.contexts - 1] + begin, count);
}

// Which rows the centre word takes part with. No inputs: nothing to train here.
inline void choose_rows(const Training& t, const Kept* centre, Window& w) {
  w.contexts = w.inputs = w.outputs = 0;
  w.loss = 0;
  if (centre->word < 0) return;
  const int reach = reach_of(t, centre->random);
  auto add_context = [&](const Kept& k) { w.context[w.contexts++] = t.syn0 + k.word * t.width; };
  int before = 0;
  while (before < reach && centre[-before - 1].word >= 0) ++before;
  for (int i = before; i > 0; --i) add_context(centre[-i]);
  for (int i = 1; i <= reach && centre[i].word >= 0; ++i) add_context(centre[i]);
  if (w.contexts == 0) return;
  // The furthest word ahead is the one that no earlier window has brought into the cache.
  fetch(w.context[w.contexts - 1], t.width);
  if (t.skip_gram)
    for (int i = 0; i < w.contexts; ++i) add_input(w, w.context[i]);
  else
    w.inputs = 1;

  if (t.path_offsets)
    for (int64_t i = t.path_offsets[centre->word]; i < t.path_offsets[centre->word + 1]; ++i)
      add_output(t, w, t.syn1 + t.path_nodes[i] * t.width, t.path_codes[i] ? -1.f : 1.f);
  if (t.negative == 0) return;
  add_output(t, w, t.syn1neg + centre->word * t.width, 1);
  for (int n = 0; n < t.negative; ++n) {
    const int64_t word = negative_of(t, centre->random, n);
    if (word != centre->word) add_output(t, w, t.syn1neg + word * t.width, -1);
  }
}

// Of each output, in the lanes of dot_products; 0 in lanes without a pair. Reads a register from `number` on.
template <int Inputs, int Outputs>
FASTRNN_INLINE Floats::Register by_output(const float* number) {
  VectorTypes<float>::Integers column, mask;
  for (int lane = 0; lane < Floats::lanes; ++lane) {
    column[lane] = lane % tile_outputs;
    mask[lane] = lane / tile_outputs < Inputs && lane % tile_outputs < Outputs ? -1 : 0;
  }
  return (Floats::Register)((VectorTypes<float>::Integers)__builtin_shuffle(Floats::load(number).v, column) & mask);
}

FASTRNN_INLINE Floats::Register by_input(const float* number) {
  VectorTypes<float>::Integers row;
  for (int lane = 0; lane < Floats::lanes; ++lane) row[lane] = lane / tile_outputs;
  return __builtin_shuffle(Floats::load(number).v, row);
}

// The loss, and its gradient with respect to the dot products: -(1 - sigmoid(x)) for what was seen, sigmoid(x) for what
// was not (arXiv:1310.4546, equation 4).
inline void compare(const Training& t, float alpha, Window& w) {
  if (w.inputs == 0) return;
  if (!t.skip_gram) {
    __builtin_memset(w.hidden, 0, t.width * sizeof(float));
    const float share = t.cbow_mean ? 1.f / w.contexts : 1.f;
    add_rows(w.hidden, w.context, &share, 0, w.contexts, 0, t.width);
  }
  Floats::Register loss{};
  for (int i = 0; i < w.inputs; i += tile_inputs)
    for (int j = 0; j < w.outputs; j += tile_outputs)
      with_constant<tile_inputs>(w.inputs - i, [&](auto inputs) __attribute__((always_inline)) {
        with_constant<tile_outputs>(w.outputs - j, [&](auto outputs) __attribute__((always_inline)) {
          constexpr int I = decltype(inputs)::value, O = decltype(outputs)::value;
          const Floats::Register sign = by_output<I, O>(w.sign + j);
          const Floats::Register times = by_output<I, O>(w.output_times + j) * by_input(w.times + i);
          const Outcome result = outcome(sign * dot_products<I, O>(w.input + i, w.output + j, t.width));
          loss += times * result.loss;
          float step[Floats::lanes];
          Floats(alpha * times * sign * result.wrong).store(step);
#pragma GCC unroll 4
          for (int row = 0; row < I; ++row)
            __builtin_memcpy(w.coefficient + (i + row) * w.stride + j, step + row * tile_outputs,
                             tile_outputs * sizeof(float));
        });
      });
  for (int lane = 0; lane < Floats::lanes; ++lane) w.loss += loss[lane];
}

// One step of gradient descent in the columns begin to end. `scratch`: rows of the worker's own.
inline void update(const Training& t, Window& w, float* const* scratch, int64_t begin, int64_t end) {
  if (w.inputs == 0) return;
  const int64_t bytes = (end - begin) * sizeof(float);
  if (!t.skip_gram) {
    __builtin_memset(scratch[0] + begin, 0, bytes);
    descend(w.hidden_row, scratch, w.inputs, w.output, w.outputs, w.coefficient, w.stride, begin, end);
    // word2vec.c gives the whole gradient to every word of a mean; a sum shares it out. gensim does the same.
    const float share = t.cbow_mean ? 1.f : 1.f / w.contexts;
    for (int i = 0; i < w.contexts; ++i) add_rows(w.context[i], scratch, &share, 0, 1, begin, end);
  } else if (w.outputs <= outputs_at_once) {
    descend(w.input, w.input, w.inputs, w.output, w.outputs, w.coefficient, w.stride, begin, end);
  } else {
    for (int i = 0; i < w.inputs; ++i) __builtin_memcpy(scratch[i] + begin, w.input[i] + begin, bytes);
    descend(scratch, w.input, w.inputs, w.output, w.outputs, w.coefficient, w.stride, begin, end);
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
