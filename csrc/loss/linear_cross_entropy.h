// The softmax loss of a linear layer without its logits in memory, and all gradients in the same pass.
//
// A block of rows goes through all classes: logits = x · Wᵀ + b and their exponentials, slab by slab; then, when a
// row's sum is known, dlogits in their place; then dW += dlogitsᵀ · x and dx = dlogits · W while the block's dlogits
// are in the cache. Three products; to compute the logits again in the backward pass would make it four
// (docs/adr/0021).
//
// A slab is a fixed number of classes: [row][class of the slab], rows an odd number of cache lines apart. It is what
// threads share, and every sum over classes goes by slabs: results are the same to the last bit for any number of
// threads.
#pragma once
#include <math.h>

#include "../cpu/sequence.h"
#include "problem.h"
#include "softmax.h"

namespace fastrnn::FASTRNN_TARGET {

template <class T>
class LinearCrossEntropy {
  using V = Vec<T>;
  static constexpr int lanes = V::lanes;
  static constexpr int64_t longest_slab = 240;  // 15 cache lines of float32
  static constexpr int64_t panel_width = max_vectors * lanes, classes_at_once = 48;
  static constexpr int64_t depth_at_once = longest_slab / 2;  // of dx's product: one chain

 public:
  explicit LinearCrossEntropy(const LossProblem<T>& problem)
      : p(problem), wanted(p.d_input || p.d_weight || p.d_bias), slab(smaller(longest_slab, padded<T>(p.classes))),
        slabs(divide_up(p.classes, slab)), most_rows(rows_per_block(p, slab)), width(padded<T>(most_rows)),
        threads(threads_for(p)), logits((wanted ? slabs : threads) * most_rows * slab), maxima(slabs * width),
        sums(slabs * width), distances(p.spread_loss ? slabs * width : 0), slab_weights(p.spread_loss ? slabs : 0),
        of_rows(threads * 3 * width), panels(threads * larger(p.features, slab) * panel_width),
        x_panels(p.d_weight ? most_rows * padded<T>(p.features) : 0), bias_sums(p.d_bias ? 2 * p.classes : 0),
        zeros(larger(slab, padded<T>(p.features))), zero_rows(1, larger(slab, most_rows)),
        left_rows(threads, larger(slab, most_rows)), init_rows(threads, most_rows),
        result_rows(threads, larger(slab, most_rows)) {
    zeros.clear(larger(slab, padded<T>(p.features)));
    zero_rows.fill(zeros);
    maxima.clear(slabs * width), sums.clear(slabs * width);  // lanes beyond a block's rows are read
    if (p.d_bias) bias_sums.clear(2 * p.classes);
    for (int64_t s = 0; p.spread_loss && s < slabs; ++s) {
      slab_weights[s] = p.class_weight ? 0 : double(classes_of(s));
      for (int64_t j = 0; p.class_weight && j < classes_of(s); ++j)
        slab_weights[s] += double(p.class_weight[s * slab + j]);
    }
  }

  void run() {
    const double whole = 2.0 * p.rows * p.features * p.classes * (1 + bool(p.d_input) + bool(p.d_weight));
    const int64_t tolerable = larger(200 * ticks_per_microsecond, int64_t(whole / 32 / threads / 2));  // see Plan
    parallel(threads, [this](Team& team) { run(team); }, tolerable);
    for (int64_t j = 0; p.d_bias && j < p.classes; ++j) p.d_bias[j] = bias_sums[j];
  }

 private:
  // Rows of a block. More of them share each reading of W and dW, of which there is one a block; fewer leave the
  // logits of a block in the cache, and less memory in use: a seventh of all logits, where those are many.
  static int64_t rows_per_block(const LossProblem<T>& p, int64_t slab) {
    constexpr int64_t least = 48, most = 1024, few_numbers = 1 << 17, many_numbers = 6 << 20;
    const int64_t classes = divide_up(p.classes, slab) * slab;
    int64_t rows = larger(divide_up(p.rows, 7), few_numbers / classes);
    rows = larger(least, smaller(smaller(rows, most), many_numbers / classes));
    return divide_up(p.rows, divide_up(p.rows, rows));  // blocks of nearly equal size
  }

  static int threads_for(const LossProblem<T>& p) {
    if (2.0 * p.rows * p.features * p.classes < 3e5) return 1;  // as in plan.h
    return int(larger(1, p.threads));
  }

  void run(Team& team) {
    for (int64_t top = 0; top < p.rows; top += most_rows) {
      const Range rows{top, smaller(p.rows, top + most_rows)};
      if (p.d_weight) pack_x(team, rows);
      for_items(team, rows.size(), [&](int64_t s, Range part) { find_logits(team, s, rows, part); });
      team.sync();
      normalize(team, rows);
      if (wanted) {
        const bool whole_slabs = groups(team, rows.size()) == 1;
        for_items(team, rows.size(), [&](int64_t s, Range part) {
          differentiate(team, s, rows, part);
          if (whole_slabs) add_to_classes(team, rows, s, {0, classes_of(s)});
        });
        team.sync();
        if (!whole_slabs) add_to_classes(team, rows);
        if (p.d_input) find_d_input(team, rows);
      }
      team.sync();
    }
  }

  // Classes are shared out by slabs. Where there are few slabs, each is shared by rows too.
  int64_t groups(const Team& team, int64_t rows) const {
    constexpr int64_t least_rows = 16;
    if (slabs >= 2 * team.size || team.size == 1) return 1;
    return larger(1, smaller(divide_up(2 * team.size, slabs), rows / least_rows));
  }

  template <class Do>
  void for_items(const Team& team, int64_t rows, Do visit) {
    const int64_t parts = groups(team, rows);
    const Range mine = team.share(slabs * parts);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t part = i % parts;
      visit(i / parts, Range{rows * part / parts, rows * (part + 1) / parts});
    }
  }

  int64_t classes_of(int64_t s) const { return smaller(slab, p.classes - s * slab); }
  int64_t vectors_of(int64_t numbers) const { return divide_up(numbers, lanes); }
  T* slab_at(const Team& team, int64_t s) const { return logits + (wanted ? s : team.rank) * most_rows * slab; }
  T* panel_of(const Team& team) const { return panels + team.rank * larger(p.features, slab) * panel_width; }

  // Panels of nearly equal width: visit(first vector, count).
  template <class Visit>
  static void for_panels(int64_t vectors, Visit visit) {
    const int64_t count = divide_up(vectors, max_vectors);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t v = vectors * i / count;
      visit(v, int(vectors * (i + 1) / count - v));
    }
  }

  // x as the right side of dW's product: [panel][row][vector][lane].
  void pack_x(const Team& team, Range rows) {
    const int64_t vectors = vectors_of(p.features);
    const int64_t count = divide_up(vectors, max_vectors);
    const Range mine = team.share(count);
    int64_t i = 0;
    for_panels(vectors, [&](int64_t v, int n) {
      if (i >= mine.begin && i < mine.end)
        pack_columns<T>([=, this](int64_t k) { return p.input + (rows.begin + k) * p.features + v * lanes; },
                        p.features - v * lanes, rows.size(), x_panels + v * lanes * rows.size(), n * lanes);
      ++i;
    });
  }

  void find_logits(const Team& team, int64_t s, Range rows, Range part) {
    const int64_t first = s * slab, count = classes_of(s), height = part.size();
    T *block = slab_at(team, s), *packed = panel_of(team);
    const T **x = left_rows.of(team), **init = init_rows.of(team);
    T** logit = result_rows.of(team);
    for (int64_t i = 0; i < height; ++i) {
      x[i] = p.input + (rows.begin + part.begin + i) * p.features;
      init[i] = p.bias ? p.bias + first : zeros;
      logit[i] = block + (part.begin + i) * slab;
    }
    for_panels(vectors_of(count), [&](int64_t v, int n) {
      for (int j = 0; j < n; ++j) {
        const int64_t column = (v + j) * lanes;
        visit_weights(p.weight, (first + column) * p.features, [&](auto* weights) {
          pack_transposed<T>(weights, p.features, int(smaller(lanes, count - column)), p.features, packed + j * lanes,
                             n * lanes);
        });
      }
      product(column_panel<T>(packed, n * lanes, count, v, n), height, p.features, {x, init, logit},
              weights_from(first + smaller((v + n) * lanes, count), n * lanes));
    });
    for (int64_t i = 0; i < height; ++i) {
      const int64_t at = part.begin + i, row = rows.begin + at, target = p.target[row];
      if (target >= first && target < first + count)
        p.target_loss[row] = logit[i][target - first];  // normalize() ends it
      const T top = maximum(logit[i], count), reference = reference_of(top);
      maxima[s * width + at] = top;
      if (p.spread_loss)
        distances[s * width + at] =
            weighted_distance(logit[i], p.class_weight ? p.class_weight + first : nullptr, count, reference);
      sums[s * width + at] = exponentiate(logit[i], count, reference);
    }
  }

  // What a slab's exponentials are relative to: its maximum, but not -inf, since -inf - -inf is NaN.
  static T reference_of(T maximum) { return maximum == -T(INFINITY) ? 0 : maximum; }

  // Every thread finds the maximum and the sum of all rows, which is little work.
  void normalize(const Team& team, Range rows) {
    T *maximum = of_rows + team.rank * 3 * width, *sum = maximum + width;
    normalizer().find(rows.size(), maximum, sum);
    const Range mine = team.share(rows.size());
    for (int64_t i = mine.begin; i < mine.end; ++i) {
      const int64_t row = rows.begin + i;
      const double top = maximum[i],
                   log_sum = log(double(sum[i]));  // the former may be so large that a sum loses the latter
      p.target_loss[row] = p.target[row] < 0 ? 0 : log_sum + (top - p.target_loss[row]);
      if (!p.spread_loss) continue;
      double all = 0;
      for (int64_t s = 0; s < slabs; ++s)
        all += double(distances[s * width + i]) +
               slab_weights[s] * (log_sum + (top - double(reference_of(maxima[s * width + i]))));
      p.spread_loss[row] = all;
    }
  }

  Normalizer<T> normalizer() const { return {maxima, sums, slabs, width}; }

  // Exponentials become dlogits.
  void differentiate(const Team& team, int64_t s, Range rows, Range part) {
    const int64_t first = s * slab, count = classes_of(s);
    T *maximum = of_rows + team.rank * 3 * width, *sum = maximum + width, *factor = sum + width;
    normalizer().factors(s, rows.size(), maximum, sum, p.of_softmax + rows.begin, factor);
    for (int64_t i = part.begin; i < part.end; ++i) {
      const int64_t row = rows.begin + i, target = p.target[row];
      T* d = slab_at(team, s) + i * slab;
      scale<T>(d, factor[i], p.of_classes ? p.of_classes[row] : 0, p.class_weight ? p.class_weight + first : nullptr,
               count);
      if (target >= first && target < first + count) d[target - first] -= p.of_target[row];
    }
  }

  void add_to_classes(const Team& team, Range rows) {
    const Range mine = team.share(p.classes);
    for (int64_t j = mine.begin; j < mine.end;) {
      const int64_t s = j / slab, from = j - s * slab, to = smaller(classes_of(s), mine.end - s * slab);
      add_to_classes(team, rows, s, {from, to});
      j = s * slab + to;
    }
  }

  // dW and db of some classes of a slab.
  void add_to_classes(const Team& team, Range rows, int64_t s, Range classes) {
    const T* block = slab_at(team, s);
    const int64_t first = s * slab + classes.begin;
    for (int64_t top = 0; p.d_weight && top < classes.size(); top += classes_at_once) {
      const int64_t count = smaller(classes_at_once, classes.size() - top);
      const T** d = left_rows.of(team);
      T** dw = result_rows.of(team);
      for (int64_t j = 0; j < count; ++j)
        d[j] = block + classes.begin + top + j, dw[j] = p.d_weight + (first + top + j) * p.features;
      const T* const* init = dw;
      if (rows.begin == 0) init = zero_rows;
      const T* next = dw[0] + count * p.features;  // of dW, which is not in the cache
      const int64_t numbers = smaller(count, p.classes - first - top - count) * p.features;
      for_panels(vectors_of(p.features), [&](int64_t v, int n) {
        const int64_t begin = numbers * v / vectors_of(p.features), end = numbers * (v + n) / vectors_of(p.features);
        product(column_panel<T>(x_panels + v * lanes * rows.size(), n * lanes, p.features, v, n), count, rows.size(),
                {d, init, dw, 0, slab}, {next + begin, end - begin});
      });
    }
    if (p.d_bias) add_bias(block + classes.begin, rows.size(), bias_sums + first, classes.size());
  }

  // In blocks of 16 rows, and with the rounding error of adding up the blocks carried along: see WeightGradients.
  void add_bias(const T* d, int64_t rows, T* total, int64_t count) const {
    constexpr int64_t block = 16;
    T* error = total + p.classes;
    for (int64_t u = 0; u < count; u += lanes) {
      const int n = int(count - u);
      V part{};
      for (int64_t top = 0; top < rows; top += block) {
        V sum{};
        for (int64_t i = top; i < smaller(top + block, rows); ++i) sum = sum + V::load(d + i * slab + u, n);
        part = part + sum;
      }
      V before = V::load(total + u, n), step = part - V::load(error + u, n), after = before + step;
      after.store(total + u, n);
      zero_if_nan((after - before) - step).store(error + u, n);
    }
  }

  // dx of the block. Threads share its rows, and where these are few the panels of its columns.
  void find_d_input(const Team& team, Range rows) {
    constexpr int64_t least_rows = 16;
    const int64_t vectors = vectors_of(p.features), count = divide_up(vectors, max_vectors);
    const int64_t parts = larger(1, smaller(team.size, rows.size() / least_rows));
    const Range mine = team.share(parts * count);
    for (int64_t part = mine.begin / count; part * count < mine.end; ++part) {
      const Range own{rows.size() * part / parts, rows.size() * (part + 1) / parts};
      for (int64_t s = 0; s < slabs; ++s)
        for (int64_t begin = 0; begin < classes_of(s); begin += depth_at_once) {
          const int64_t depth = smaller(depth_at_once, classes_of(s) - begin), first = s * slab + begin;
          const T** d = left_rows.of(team);
          T** dx = result_rows.of(team);
          for (int64_t i = 0; i < own.size(); ++i) {
            d[i] = slab_at(team, s) + (own.begin + i) * slab + begin;
            dx[i] = p.d_input + (rows.begin + own.begin + i) * p.features;
          }
          const T* const* init = dx;
          if (first == 0) init = zero_rows;
          int64_t item = part * count;
          for_panels(vectors, [&](int64_t v, int n) {
            if (item >= mine.begin && item < mine.end)
              product(weight_panel(team, {first, first + depth}, v, n), own.size(), depth, {d, init, dx},
                      weights_from(first + depth + depth * v / vectors, divide_up(depth * n, vectors)));
            ++item;
          });
        }
    }
  }

  // Columns of some classes' weights: where they lie, unless they are narrow or would be read beyond the last of all.
  Panel<T> weight_panel(const Team& team, Range classes, int64_t v, int n) const {
    const int64_t column = v * lanes;
    const bool beyond = column + n * lanes > p.features && classes.end == p.classes;
    if (p.weight.format == WeightFormat::same && !beyond)
      return column_panel<T>(p.weight.numbers() + classes.begin * p.features + column, p.features, p.features, v, n);
    T* packed = panel_of(team);
    visit_weights(p.weight, classes.begin * p.features + column, [&](auto* weights) {
      pack_columns<T>([=, this](int64_t k) { return weights + k * p.features; }, p.features - column, classes.size(),
                      packed, n * lanes);
    });
    return column_panel<T>(packed, n * lanes, p.features, v, n);
  }

  // The weights of some classes, to be fetched.
  Ahead<T> weights_from(int64_t first, int64_t count) const {
    const int64_t numbers = larger(0, smaller(count, p.classes - first)) * p.features;
    const int64_t bytes = numbers * (p.weight.format == WeightFormat::same ? int64_t(sizeof(T)) : 2);
    return {static_cast<const T*>(p.weight.from(first * p.features).data), bytes / int64_t(sizeof(T))};
  }

  const LossProblem<T>& p;
  const bool wanted;  // some gradient
  const int64_t slab, slabs, most_rows, width;
  const int threads;
  Buffer<T> logits;                   // [slab][row][class], or one slab for each thread
  Buffer<T> maxima, sums, distances;  // [slab][row]
  Buffer<double> slab_weights;        // sums of class weights
  Buffer<T> of_rows;                  // of each thread: maximum, sum, factor of each row
  Buffer<T> panels, x_panels, bias_sums, zeros;
  RowPointers<const T*> zero_rows, left_rows, init_rows;
  RowPointers<T*> result_rows;
};

}  // namespace fastrnn::FASTRNN_TARGET
