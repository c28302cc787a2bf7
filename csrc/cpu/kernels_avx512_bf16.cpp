// The passes of a layer whose weights are bfloat16, where the processor multiplies it. All else of this level is that
// of AVX-512.
#if defined(__x86_64__)
#include "before_instruction_set.h"

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,avx512bf16")
#define FASTRNN_TARGET avx512_bf16
#define FASTRNN_VECTOR_BYTES 64
#define FASTRNN_REGISTERS 32
#define FASTRNN_BFLOAT16 1
#include "passes.h"

namespace fastrnn {

namespace avx512 {
extern const Kernels kernels;
}

namespace avx512_bf16 {

// Few rows are dot products with weights where they lie, in float32. Not of weights that are packed once and for all:
// their numbers shall not depend on how many rows there are. Cells with layer normalization go on in float32.
bool takes(const Problem<float>& p) {
  return !p.cell->normalized && (is_packed(p.w_hh.format) || packing_of(p) != Packing::none);
}

// A call whose rows are bfloat16, with copies in float32.
class Widened {
 public:
  explicit Widened(const Problem<float>& p)
      : rows(p.before[p.times]), output(p.projection_size ? p.projection_size : p.hidden_size), given(p),
        x(p.narrow_x.data ? rows * p.input_size : 0), y(p.narrow_y.data ? rows * output : 0), problem(p) {
    if (p.narrow_y.data) problem.y = {y, 0, output, output};
    if (!p.narrow_x.data) return;
    problem.x = {x, 0, p.input_size, p.input_size};
    each_row([&](int64_t row, int64_t t, int64_t b) {
      for (int64_t i = 0; i < p.input_size; i += Vec<float>::lanes) {
        const int n = int(p.input_size - i);
        load_halves(at(p.narrow_x, t, b) + i, n).store(x + row * p.input_size + i, n);
      }
    });
  }
  operator const Problem<float>&() const { return problem; }

  void write_output() const {
    if (!given.narrow_y.data) return;
    each_row([&](int64_t row, int64_t t, int64_t b) {
      for (int64_t i = 0; i < output; i += Vec<float>::lanes)
        narrow(y + row * output + i, at(given.narrow_y, t, b) + i, int(output - i));
    });
  }

 private:
  template <class Visit>
  void each_row(Visit visit) const {
    for (int64_t t = 0; t < given.times; ++t)
      for (int64_t b = 0; b < given.active[t]; ++b) visit(given.before[t] + b, t, b);
  }
  template <class U>
  U* at(const Rows<U>& rows, int64_t t, int64_t b) const {
    return rows.data + t * rows.step + given.before[t] * rows.packed + b * rows.row;
  }
  static void narrow(const float* from, BFloat16* to, int n) {
    const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(__m512(Vec<float>::load(from, n).v));
    _mm256_mask_storeu_epi16(to, n >= 16 ? -1 : (1u << n) - 1, rounded);
  }

  const int64_t rows, output;
  const Problem<float>& given;
  Buffer<float> x, y;
  Problem<float> problem;
};

void forward_of_bfloat16(const Problem<float>& p) {
  if (takes(p)) return forward(p);
  const Widened widened(p);
  avx512::kernels.of_float.forward(widened);
  widened.write_output();
}

void forward_both_of_bfloat16(const Problem<float>& one, const Problem<float>& other) {
  if (takes(one)) return forward_both(one, other);
  const Widened first(one), second(other);
  avx512::kernels.of_float.forward_both(first, second);
  first.write_output(), second.write_output();
}

void backward_of_bfloat16(const Problem<float>& p) {
  (takes(p) ? backward<float> : avx512::kernels.of_float.backward)(p);
}

PreparedPass prepare_of_bfloat16(const Problem<float>& p) {
  return (takes(p) ? prepare<float> : avx512::kernels.of_float.prepare)(p);
}

extern const Passes<float> passes;
const Passes<float> passes = {forward_of_bfloat16, forward_both_of_bfloat16, backward_of_bfloat16, prepare_of_bfloat16};

}  // namespace avx512_bf16
}  // namespace fastrnn
#endif
