// Everything above, compiled for one instruction set. Included by the kernels_*.cpp and by nothing else.
#pragma once
#include "dense.h"
#include "int8_products.h"
#include "passes.h"

namespace fastrnn::FASTRNN_TARGET {

// For the test of the activations' accuracy.
template <class T>
void activation(char which, const T* x, T* y, int64_t n) {
  constexpr int lanes = Vec<T>::lanes;
  for (int64_t i = 0; i < n; i += lanes) {
    Vec<T> v = Vec<T>::load(x + i, int(n - i));
    (which == 's' ? sigmoid(v) : which == 't' ? tanh(v) : relu(v)).store(y + i, int(n - i));
  }
}

// The machine's ceiling: multiply-adds on registers alone, in GFLOP/s over all threads.
inline double fma_gflops(int threads) {
  constexpr int chains = 12, repeats = 2'000'000;  // enough chains to hide the latency of a multiply-add
  double best = 0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    double start = omp_get_wtime();
    parallel(threads, [](Team) {
      Vec<float>::Register sum[chains] = {}, factor = {};
      asm volatile(""
                   : "+m"(factor));  // the compiler may not know what it multiplies by, nor that the result is not read
      for (int k = 0; k < chains; ++k) asm volatile("" : "+m"(sum[k]));
      for (int i = 0; i < repeats; ++i)
#pragma GCC unroll 12
        for (int k = 0; k < chains; ++k) sum[k] = sum[k] * factor + factor;
      for (int k = 0; k < chains; ++k) asm volatile("" ::"m"(sum[k]));
    });
    double rate = 2.0 * threads * chains * Vec<float>::lanes * repeats / (omp_get_wtime() - start) / 1e9;
    if (rate > best) best = rate;
  }
  return best;
}

inline PreparedPass prepare_linear(const Linear& p) { return (new Prepared<Dense>(p))->entry(); }

extern const Kernels kernels;
const Kernels kernels = {
    FASTRNN_STRING(FASTRNN_TARGET),
    {forward<float>, forward_both<float>, backward<float>, prepare<float>},
    {forward<float>, forward_both<float>, backward<float>, prepare<float>},  // bfloat16 weights, which are widened
    false,
    {forward<double>, forward_both<double>, backward<double>, prepare<double>},
    activation<float>,
    activation<double>,
    prepare_linear,
    fma_gflops,
};

}  // namespace fastrnn::FASTRNN_TARGET
