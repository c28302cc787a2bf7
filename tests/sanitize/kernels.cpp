// The layers' kernels by themselves, without torch and Python, for ThreadSanitizer: see tests/sanitize/__main__.py.
//
// Every cell goes forward and backward in float32, with all that changes who waits for whom: by rows and by units, few
// rows, both directions at once, packed sequences, recomputing, several chunks of time, recurrent dropout and zoneout.
// So it does in bfloat16 where the processor multiplies it, whose rows are rounded by one thread and read by others;
// and forward with weights that are packed once and for all. Teams of two and three threads must find the numbers of
// one thread to the last bit.
#include <string.h>

#include <cstdio>
#include <random>
#include <vector>

#include "../../csrc/cells/registry.h"
#include "../../csrc/cpu/int8.h"
#include "../../csrc/cpu/kernel_table.h"
#include "../../csrc/cpu/waiting.h"
#include "../../csrc/loss/problem.h"
#include "../../csrc/sequence/packed.h"
#include "openmp.h"

namespace fastrnn {

namespace generic {
extern const Kernels kernels;
extern const LossKernels loss_kernels;
extern const Int8Products products_of_int8;
}  // namespace generic
#if defined(__x86_64__)
namespace avx512_bf16 {
extern const Passes<float> passes;
}
#endif

const Int8Products& int8_products() { return generic::products_of_int8; }  // as FASTRNN_ISA=generic chooses them

namespace {

using Numbers = std::vector<float>;

Numbers random_numbers(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-0.3f, 0.3f);
  Numbers numbers(n);
  for (float& x : numbers) x = uniform(generator);
  return numbers;
}

struct Shape {
  int64_t times, batch, inputs, hidden, heads = 1;
};

// What weights are stored as, whether input and output are bfloat16 (at inference only), and the kernels for it.
struct Kind {
  const char* name;
  WeightFormat format;
  bool narrow_rows;
  const Passes<float>* passes;

  bool trains() const { return !narrow_rows && !is_packed(format); }
};

using Bytes = std::vector<char>;

std::vector<BFloat16> narrowed(const Numbers& numbers) {
  std::vector<BFloat16> halves;
  for (float x : numbers) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    halves.push_back({uint16_t(bits >> 16)});
  }
  return halves;
}

// Numbers as weights of this format. Of a packed one they are in no order: what is in the bytes is the same for any
// team. Blocks of int8 end with scales and sums.
Bytes stored(WeightFormat format, const Numbers& numbers, int64_t block = 0, int64_t group = 0) {
  Bytes bytes;
  auto keep = [&](const auto& values) {
    bytes.resize(values.size() * sizeof values[0]);
    memcpy(bytes.data(), values.data(), bytes.size());
  };
  if (format == WeightFormat::bfloat16 || format == WeightFormat::packed_bfloat16)
    keep(narrowed(numbers));
  else
    keep(numbers);
  for (size_t i = 0; format == WeightFormat::packed_int8 && i < bytes.size(); i += block) {
    for (int64_t j = 0; j < group / 4; ++j) {
      const float scale = 0.002f;
      const int32_t sum = int32_t(j);
      memcpy(&bytes[i + block - 2 * group + 4 * j], &scale, 4), memcpy(&bytes[i + block - group + 4 * j], &sum, 4);
    }
  }
  return bytes;
}

// A matrix of `gates` blocks of rows, each (outputs, depth), of several heads block diagonal.
Bytes matrix(WeightFormat format, int64_t gates, int64_t outputs, int64_t depth, unsigned seed, int64_t heads = 1) {
  if (!is_packed(format)) return stored(format, random_numbers(gates * outputs * depth / heads, seed));
  const PackedSizes sizes = packed_sizes(format, gates, outputs, depth, heads);
  const int64_t size = format == WeightFormat::packed_bfloat16 ? 2 : 4;
  return stored(format, random_numbers(sizes.matrix / size, seed), sizes.block, sizes.group);
}

// Everything that both directions of a layer compute, one after the other.
Numbers run(const CellDescription& cell, const Shape& shape, const Kind& kind, bool packed, bool recompute,
            bool together, bool regularized, int threads) {
  const auto [times, batch, inputs, hidden, heads] = shape;
  const int64_t input_gates = cell.input_gates, recurrent_gates = cell.gates_of_state(), saves = cell.saves;
  const bool has_c = cell.carries_c;
  recompute &= saves == 0 || cell.recomputable();
  const int64_t width = (hidden + 15) / 16 * 16;
  const int64_t slots = saves + (regularized && has_c) + (regularized && cell.goes_back_from_h);
  std::vector<int64_t> active(times), before(times + 1, 0);
  for (int64_t t = 0; t < times; ++t) {
    active[t] = packed ? batch - t * (batch - 1) / times : batch;
    before[t + 1] = before[t] + active[t];
  }
  const int64_t rows = before[times];
  const Numbers x = random_numbers(rows * inputs, 1), dy = random_numbers(rows * 2 * hidden, 2);
  const Bytes w_ih = matrix(kind.format, input_gates, hidden, inputs, 3);
  const int64_t first_gates = is_packed(kind.format) ? cell.recurrent_gates : recurrent_gates;
  Bytes w_hh = matrix(kind.format, first_gates, hidden, hidden, 5, heads);
  if (is_packed(kind.format) && cell.gated) {
    const Bytes gated = matrix(kind.format, 1, hidden, hidden, 7, heads);
    w_hh.insert(w_hh.end(), gated.begin(), gated.end());
  }
  const WeightFormat of_vectors = is_packed(kind.format) ? WeightFormat::same : kind.format;
  const Bytes bias = stored(of_vectors, random_numbers(4 * most_vectors * hidden, 4));
  const Numbers state = random_numbers(batch * hidden, 6), masks = random_numbers(rows * 2 * hidden, 8);
  const std::vector<BFloat16> narrow_x = narrowed(x);
  std::vector<BFloat16> narrow_y(rows * 2 * hidden);
  Numbers y(rows * 2 * hidden), dx(rows * inputs);
  const int64_t checkpoints = (times + least_steps_per_checkpoint - 1) / least_steps_per_checkpoint * batch * width;
  struct Direction {
    Numbers saved, checkpoints, hn, cn, dh0, dc0, dw_ih, dw_hh, db_ih, db_hh, dvectors;
  } found[2];
  Problem<float> problems[2];
  for (int d = 0; d < 2; ++d) {
    Direction& f = found[d];
    f = {Numbers(rows * slots * width),
         Numbers(checkpoints),
         Numbers(state.size()),
         Numbers(state.size()),
         Numbers(state.size()),
         Numbers(state.size()),
         Numbers(input_gates * hidden * inputs),
         Numbers(recurrent_gates * hidden * hidden / heads),
         Numbers(input_gates * hidden),
         Numbers(recurrent_gates * hidden),
         Numbers(4 * cell.vectors * hidden)};
    Problem<float>& p = problems[d] = {};
    p.cell = &cell, p.reverse = d == 1, p.threads = threads;
    p.times = times, p.batch = batch, p.input_size = inputs, p.hidden_size = hidden, p.heads = heads;
    p.active = active.data(), p.before = before.data();
    p.w_ih = {w_ih.data(), kind.format}, p.w_hh = {w_hh.data(), kind.format};
    p.b_ih = p.b_hh = {bias.data(), of_vectors};
    for (int k = 0; k < cell.vectors; ++k)
      p.vectors[k] = p.b_ih.from(4 * k * hidden), p.dvectors[k] = f.dvectors.data() + 4 * k * hidden;
    p.h0 = state.data(), p.c0 = has_c ? state.data() : nullptr;
    auto rows_of = [&](auto* data, int64_t row) {
      return Rows<std::remove_pointer_t<decltype(data)>>{data, packed ? 0 : batch * row, packed ? row : 0, row};
    };
    p.dx = rows_of(dx.data(), inputs), p.dy = rows_of(dy.data() + d * hidden, 2 * hidden);
    if (kind.narrow_rows)
      p.narrow_x = rows_of(narrow_x.data(), inputs), p.narrow_y = rows_of(narrow_y.data() + d * hidden, 2 * hidden);
    else
      p.x = rows_of(x.data(), inputs), p.y = rows_of(y.data() + d * hidden, 2 * hidden);
    if (!kind.trains()) {
    } else if (recompute)
      p.recompute = true, p.checkpoints = has_c ? f.checkpoints.data() : nullptr;
    else if (slots)
      p.saved = {f.saved.data(), 0, slots * width, slots * width};
    if (regularized) {
      p.recurrent_mask = masks.data();
      p.zoneout_h = rows_of(masks.data() + d * hidden, 2 * hidden);
      if (has_c) p.zoneout_c = p.zoneout_h;
    }
    p.hn = f.hn.data(), p.cn = has_c ? f.cn.data() : nullptr;
    p.dhn = state.data(), p.dcn = has_c ? state.data() : nullptr;
    p.dh0 = f.dh0.data(), p.dc0 = has_c ? f.dc0.data() : nullptr;
    // A frozen W_ih, whose gradient would be a product with barriers before that of W_hh.
    p.dw_ih = regularized && heads > 1 ? nullptr : f.dw_ih.data(), p.dw_hh = f.dw_hh.data(), p.db_ih = f.db_ih.data(),
    p.db_hh = f.db_hh.data();
    p.add_to_dx = d == 1;
  }
  if (together) {
    kind.passes->forward_both(problems[0], problems[1]);
  } else {
    for (const auto& p : problems) {
      if (!packed || kind.passes != &generic::kernels.of_float) {
        kind.passes->forward(p);
        continue;
      }
      const PreparedPass pass =
          kind.passes->prepare(p);  // as a stream: on one thread, then on all that it was planned for
      pass.run(pass.self, 1), pass.run(pass.self, pass.threads);
      pass.release(pass.self);
    }
  }
  for (const auto& p : problems)
    if (kind.trains()) kind.passes->backward(p);
  Numbers all = y;
  for (BFloat16 half : narrow_y) all.push_back(half.bits);
  all.insert(all.end(), dx.begin(), dx.end());
  for (const Direction& f : found)
    for (const Numbers* n : {&f.hn, &f.cn, &f.dh0, &f.dc0, &f.dw_ih, &f.dw_hh, &f.db_ih, &f.db_hh, &f.dvectors})
      all.insert(all.end(), n->begin(), n->end());
  return all;
}

// A step wide enough for threads by units, a batch large enough for threads by rows, one step; a few rows, whose
// weights are read where they lie, for one step and for several; of odd sizes, which whole pairs of bfloat16 do not
// fill. And several heads: of half a vector, and such that vectors and pairs belong to two.
constexpr Shape shapes[] = {{9, 3, 20, 120}, {40, 16, 9, 40},    {1, 8, 64, 160},    {1, 4, 64, 160},
                            {3, 2, 33, 121}, {40, 16, 9, 40, 5}, {9, 3, 20, 121, 11}};

int compare(const Kind& kind) {
  int runs = 0, different = 0;
  for (const CellDescription* cell : all_cells())
    for (const Shape& shape : shapes)
      for (int options = 0; options < 16; ++options) {
        const bool packed = options & 1, together = options & 2, recompute = options & 4, regularized = options & 8;
        if ((recompute || regularized) && !kind.trains()) continue;
        if (regularized && (packed || together)) continue;
        const Numbers alone = run(*cell, shape, kind, packed, recompute, together, regularized, 1);
        // Teams that stay together, and teams that a barrier dissolves: the others go on beside the first, with
        // nothing.
        const int never = dissolve_teams_at;
        for (const auto& [threads, dissolved] : {std::pair{2, never}, {3, never}, {2, 1}, {3, 2}}) {
          dissolve_teams_at = dissolved;
          const Numbers team = run(*cell, shape, kind, packed, recompute, together, regularized, threads);
          dissolve_teams_at = never;
          ++runs;
          if (memcmp(team.data(), alone.data(), alone.size() * sizeof(float))) {
            ++different;
            printf("%s, %s, T%d B%d H%d, options %d: %d threads find other numbers than one\n", cell->name, kind.name,
                   int(shape.times), int(shape.batch), int(shape.hidden), options, threads);
          }
        }
      }
  printf("%s: %d runs of teams, %d with other numbers than one thread\n", kind.name, runs, different);
  return different > 0;
}

int compare_kinds() {
  const Passes<float>* generic = &generic::kernels.of_float;
  int different = compare({"float32", WeightFormat::same, false, generic});
  different += compare({"float32, packed once and for all", WeightFormat::packed_float32, false, generic});
  different += compare({"bfloat16 weights, packed once and for all", WeightFormat::packed_bfloat16, false, generic});
  different += compare({"int8", WeightFormat::packed_int8, false, generic});
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) {
    const Passes<float>* own = &avx512_bf16::passes;
    different += compare({"bfloat16", WeightFormat::bfloat16, false, own});
    different += compare({"bfloat16 and its rows", WeightFormat::bfloat16, true, own});
    different += compare({"bfloat16 and its rows, packed once and for all", WeightFormat::packed_bfloat16, true, own});
    return different;
  }
#endif
  printf("bfloat16: this processor does not multiply it\n");
  return different;
}

// The losses of rows and all gradients of linear_cross_entropy, one after the other.
std::vector<double> run_loss(int64_t rows, int64_t features, int64_t classes, int threads) {
  const Numbers input = random_numbers(rows * features, 1), weight = random_numbers(classes * features, 2);
  const Numbers bias = random_numbers(classes, 3), factors(rows, 1.f);
  std::vector<int64_t> target(rows);
  for (int64_t i = 0; i < rows; ++i) target[i] = i * 7 % classes - (i % 5 == 0 ? classes : 0);
  std::vector<double> target_loss(rows), spread_loss(rows);
  Numbers d_input(rows * features), d_weight(classes * features), d_bias(classes);
  LossProblem<float> p{};
  p.threads = threads, p.rows = rows, p.features = features, p.classes = classes;
  p.input = input.data(), p.weight = {weight.data(), WeightFormat::same}, p.bias = bias.data();
  p.target = target.data(), p.target_loss = target_loss.data(), p.spread_loss = spread_loss.data();
  p.of_softmax = p.of_target = p.of_classes = factors.data();
  p.d_input = d_input.data(), p.d_weight = d_weight.data(), p.d_bias = d_bias.data();
  generic::loss_kernels.of_float(p);
  std::vector<double> all = target_loss;
  all.insert(all.end(), spread_loss.begin(), spread_loss.end());
  for (const Numbers* n : {&d_input, &d_weight, &d_bias}) all.insert(all.end(), n->begin(), n->end());
  return all;
}

// Many slabs of classes, and few, which threads share by rows.
int compare_losses() {
  constexpr int64_t sizes[][3] = {{60, 9, 1000}, {200, 20, 300}};
  int different = 0;
  for (const auto& [rows, features, classes] : sizes) {
    const std::vector<double> alone = run_loss(rows, features, classes, 1);
    for (int threads : {2, 3}) different += run_loss(rows, features, classes, threads) != alone;
  }
  printf("loss: 4 runs of teams, %d with other numbers than one thread\n", different);
  return different > 0;
}

}  // namespace
}  // namespace fastrnn

int main() { return fastrnn::compare_kinds() + fastrnn::compare_losses(); }
