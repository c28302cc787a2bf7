#include "column_sums.h"
#include "grid.h"
#include "rows.h"

namespace fastrnn::cuda {
namespace {

template <class T>
struct Copy {
  Lying<T> to;
  Lying<const T> from;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t column) const { to.at(row)[column] = from.at(row)[column]; }
};

template <class To, class From>
struct Convert {
  To* to;
  const From* from;
  FASTRNN_DEVICE void operator()(int64_t, int64_t i) const { store(to + i, widened(from[i])); }
};

template <class To, class From>
struct Begin {
  To* to;
  const From *given, *start;
  Resets resets;
  int64_t columns;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t column) const {
    const int64_t i = row * columns + column;
    if (given && !resets.at(row))
      store(to + i, widened(given[i]));
    else
      store(to + i, start ? widened(start[column]) : 0);
  }
};

template <class A>
struct Leave {
  A *d_state, *left;
  Resets resets;
  int64_t columns;
  FASTRNN_DEVICE void operator()(int64_t row, int64_t column) const {
    if (!resets.at(row)) return;
    const int64_t i = row * columns + column;
    if (left) left[i] += d_state[i];
    d_state[i] = 0;
  }
};

template <class To, class From>
struct TransposeBlocks {
  To* to;
  const From* from;
  int64_t rows, columns, block;
  FASTRNN_DEVICE void operator()(int64_t element, int64_t i) const {
    const int64_t row = element / columns, column = element % columns;
    store(to + (column * rows + row) * block + i, widened(from[element * block + i]));
  }
};

template <class T>
struct Multiply {
  T* to;
  const T *a, *b;
  FASTRNN_DEVICE void operator()(int64_t, int64_t i) const { store(to + i, widened(a[i]) * widened(b[i])); }
};

template <class T>
struct AddMultiplied {
  Accumulated<T>* to;
  const Accumulated<T>* a;
  const T* b;
  FASTRNN_DEVICE void operator()(int64_t, int64_t i) const { to[i] += a[i] * widened(b[i]); }
};

template <class T>
__global__ void __launch_bounds__(sum_columns* sum_parts)
    sum_each_column(Accumulated<T>* sums, const T* from, int64_t row, int64_t rows, int64_t columns, bool add) {
  sum_column(sums, rows, columns, add, [&](int64_t r, int64_t column) { return widened(from[r * row + column]); });
}

}  // namespace

template <class T>
cudaError_t copy_rows(Lying<T> to, Lying<const T> from, int64_t rows, int64_t columns, cudaStream_t stream) {
  return for_each_number(Copy<T>{to, from}, rows, columns, stream);
}

template <class To, class From>
cudaError_t convert(To* to, const From* from, int64_t count, cudaStream_t stream) {
  if (!from) return cudaMemsetAsync(to, 0, size_t(count) * sizeof(To), stream);
  if constexpr (std::is_same_v<To, From>)
    return cudaMemcpyAsync(to, from, size_t(count) * sizeof(To), cudaMemcpyDeviceToDevice, stream);
  else
    return for_each_number(Convert<To, From>{to, from}, 1, count, stream);
}

template <class To, class From>
cudaError_t begin_rows(To* to, const From* given, const From* start, Resets resets, int64_t rows, int64_t columns,
                       cudaStream_t stream) {
  return for_each_number(Begin<To, From>{to, given, start, resets, columns}, rows, columns, stream);
}

template <class A>
cudaError_t leave_rows(A* d_state, A* left, Resets resets, int64_t columns, cudaStream_t stream) {
  return for_each_number(Leave<A>{d_state, left, resets, columns}, resets.rows, columns, stream);
}

template <class To, class From>
cudaError_t transpose_blocks(To* to, const From* from, int64_t rows, int64_t columns, int64_t block,
                             cudaStream_t stream) {
  return for_each_number(TransposeBlocks<To, From>{to, from, rows, columns, block}, rows * columns, block, stream);
}

template <class T>
cudaError_t multiply(T* to, const T* a, const T* b, int64_t count, cudaStream_t stream) {
  return for_each_number(Multiply<T>{to, a, b}, 1, count, stream);
}

template <class T>
cudaError_t add_multiplied(Accumulated<T>* to, const Accumulated<T>* a, const T* b, int64_t count,
                           cudaStream_t stream) {
  return for_each_number(AddMultiplied<T>{to, a, b}, 1, count, stream);
}

template <class T>
cudaError_t sum_rows(Accumulated<T>* sums, const T* from, int64_t row, int64_t rows, int64_t columns, bool add,
                     cudaStream_t stream) {
  const Launch shape = launch_sums(columns, 1, sizeof(Accumulated<T>));
  return launch(sum_each_column<T>, shape, stream, sums, from, row, rows, columns, add);
}

#define FASTRNN_OF_ROWS(T)                                                                                      \
  template cudaError_t copy_rows(Lying<T>, Lying<const T>, int64_t, int64_t, cudaStream_t);                     \
  template cudaError_t convert(T*, const T*, int64_t, cudaStream_t);                                            \
  template cudaError_t begin_rows(T*, const T*, const T*, Resets, int64_t, int64_t, cudaStream_t);              \
  template cudaError_t multiply(T*, const T*, const T*, int64_t, cudaStream_t);                                 \
  template cudaError_t add_multiplied(Accumulated<T>*, const Accumulated<T>*, const T*, int64_t, cudaStream_t); \
  template cudaError_t transpose_blocks(T*, const T*, int64_t, int64_t, int64_t, cudaStream_t);                 \
  template cudaError_t sum_rows(Accumulated<T>*, const T*, int64_t, int64_t, int64_t, bool, cudaStream_t);
FASTRNN_OF_ROWS(double)
FASTRNN_OF_ROWS(float)
FASTRNN_OF_ROWS(__nv_bfloat16)
FASTRNN_OF_ROWS(__half)
#undef FASTRNN_OF_ROWS
template cudaError_t leave_rows(double*, double*, Resets, int64_t, cudaStream_t);
template cudaError_t leave_rows(float*, float*, Resets, int64_t, cudaStream_t);
template cudaError_t begin_rows(float*, const __nv_bfloat16*, const __nv_bfloat16*, Resets, int64_t, int64_t,
                                cudaStream_t);
template cudaError_t begin_rows(float*, const __half*, const __half*, Resets, int64_t, int64_t, cudaStream_t);
template cudaError_t transpose_blocks(__nv_bfloat16*, const float*, int64_t, int64_t, int64_t, cudaStream_t);
template cudaError_t transpose_blocks(__half*, const float*, int64_t, int64_t, int64_t, cudaStream_t);
template cudaError_t convert(float*, const __nv_bfloat16*, int64_t, cudaStream_t);
template cudaError_t convert(float*, const __half*, int64_t, cudaStream_t);
template cudaError_t convert(__nv_bfloat16*, const float*, int64_t, cudaStream_t);
template cudaError_t convert(__half*, const float*, int64_t, cudaStream_t);

}  // namespace fastrnn::cuda
