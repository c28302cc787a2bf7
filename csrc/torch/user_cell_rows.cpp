#include "user_cell_rows.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "layer.h"

namespace fastrnn {

using at::Tensor;

UserCellRows::UserCellRows(const Tensor& input, const OptionalTensor& batch_sizes, const OptionalTensor& lengths)
    : packed(batch_sizes.has_value()), ragged(lengths.has_value()) {
  TORCH_CHECK(input.dim() == (packed ? 2 : 3), "Expected input to have ", packed ? 2 : 3, " dimensions, got ",
              input.dim());
  TORCH_CHECK_VALUE(!packed || !lengths, "Expected lengths with padded input alone, got lengths and batch_sizes");
  if (packed) {
    read_batch_sizes(*batch_sizes);
    return;
  }
  times = input.size(0), batch = input.size(1), count = times * batch;
  TORCH_CHECK(times > 0, "Expected sequence length to be larger than 0, got input of size ", input.sizes());
  active.assign(times, batch);
  for (int64_t t = 0; t < times; ++t) first.push_back(t * batch);
  if (lengths) read_lengths(*lengths);
}

void UserCellRows::read_batch_sizes(const Tensor& sizes) {
  TORCH_CHECK(sizes.dim() == 1 && sizes.scalar_type() == at::kLong && sizes.device().is_cpu(),
              "Expected batch_sizes to be a 1-D int64 tensor on the cpu, got ", sizes.dim(), "-D ",
              name_of(sizes.scalar_type()), " on ", sizes.device());
  check_in_memory(sizes, "batch_sizes");
  const Tensor given = sizes.contiguous();
  const int64_t* n = given.const_data_ptr<int64_t>();
  active.assign(n, n + given.numel());
  times = given.numel();
  TORCH_CHECK_INDEX(times > 0, "Expected batch_sizes of at least one step, got none");
  batch = active[0];
  for (int64_t t = 0; t < times; ++t) {
    TORCH_CHECK(active[t] > 0 && (t == 0 || active[t] <= active[t - 1]),
                "Expected batch_sizes to be positive and not to increase, got ", active[t], " at ", t);
    first.push_back(count);
    TORCH_CHECK(!__builtin_add_overflow(count, active[t], &count), "Expected batch_sizes whose sum is an int64");
  }
}

void UserCellRows::read_lengths(const Tensor& lengths) {
  TORCH_CHECK_VALUE(lengths.scalar_type() == at::kLong && lengths.device().is_cpu(),
                    "Expected lengths to be an int64 tensor on the cpu, got ", name_of(lengths.scalar_type()), " on ",
                    lengths.device());
  check_sizes(lengths, {batch}, "lengths");
  check_in_memory(lengths, "lengths");
  const Tensor given = lengths.contiguous();
  const int64_t* n = given.const_data_ptr<int64_t>();
  active.assign(times, 0);
  for (int64_t b = 0; b < batch; ++b) {
    TORCH_CHECK_VALUE(n[b] >= 0 && n[b] <= times, "Expected lengths from 0 to ", times,
                      ", the steps of the input, got ", n[b], " at ", b);
    if (n[b] > 0) ++active[n[b] - 1];  // rows of just this length, and then of at least it
  }
  for (int64_t t = times - 1; t > 0; --t) active[t - 1] += active[t];
  if (std::is_sorted(n, n + batch, std::greater<int64_t>())) return;
  order = at::empty({batch}, at::kLong), back = at::empty({batch}, at::kLong);
  int64_t *to = order.data_ptr<int64_t>(), *from = back.data_ptr<int64_t>();
  std::iota(to, to + batch, 0);
  std::stable_sort(to, to + batch, [&](int64_t a, int64_t b) { return n[a] > n[b]; });
  for (int64_t b = 0; b < batch; ++b) from[to[b]] = b;
}

Tensor UserCellRows::to_rows(const Tensor& t) const {
  const Tensor rows = order.defined() ? t.index_select(1, order) : t;
  return (packed ? rows : rows.flatten(0, 1)).contiguous();
}

Tensor UserCellRows::from_rows(const Tensor& t) const {
  if (packed) return t;
  const Tensor padded = t.view({times, batch, t.size(1)});
  return back.defined() ? padded.index_select(1, back) : padded;
}

}  // namespace fastrnn
