#include "layer.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <functional>

namespace fastrnn {

using at::Tensor;

void check_sizes(const Tensor& t, at::IntArrayRef expected, const char* name) {
  TORCH_CHECK(t.sizes() == expected, "Expected ", name, " size ", expected, ", got ", t.sizes());
}

void check_dtype(const Tensor& t, at::ScalarType expected, const char* name) {
  TORCH_CHECK(t.scalar_type() == expected, "Expected ", name, " of dtype ", name_of(expected), ", got ",
              name_of(t.scalar_type()), "; convert it with .to(", name_of(expected), ")");
}

void check_device(const Tensor& t, at::Device expected, const char* name) {
  TORCH_CHECK(t.device() == expected, "Expected ", name, " on the input's device ", expected, ", got ", t.device(),
              "; move it there with .to(\"", expected, "\")");
}

// A tensor's storage may have been freed or cut since the tensor was made.
void check_in_memory(const Tensor& t, const char* name) {
  if (t.numel() == 0) return;
  const size_t needed = at::detail::computeStorageNbytes(t.sizes(), t.strides(), t.itemsize(), t.storage_offset());
  TORCH_CHECK(needed <= t.storage().nbytes(), "Expected ", name, " in memory: it needs ", needed,
              " bytes, and its storage has ", t.storage().nbytes(),
              ". Was the storage freed, by untyped_storage().resize_()? Restore it before the call");
}

void check_weight_count(const Arguments& a, int64_t num_layers) {
  const CellDescription& cell = *a.cell;
  const int64_t directions = a.bidirectional ? 2 : 1, given = int64_t(a.weights.size());
  const int64_t of_state = a.learned_state ? 1 + cell.carries_c : 0;
  const int64_t of_layer = directions * (2 + 2 * a.biases + a.projected + cell.vectors + of_state);
  TORCH_CHECK(given % of_layer == 0 && given / of_layer == num_layers && given > 0, "Expected ", of_layer,
              " weights for each of ", num_layers, " layer(s) in ", directions, " direction(s) of ", cell.name,
              a.biases ? " with" : " without", " biases and ", a.projected ? "with" : "without", " a projection",
              a.learned_state ? " and with a learned initial state, got " : ", got ", given, " in all");
}

std::string name_of(at::ScalarType dtype) { return std::string("torch.").append(c10::getDtypeNames(dtype).first); }

// Large tensors are fresh memory in every call, and each page of 4 KiB that is touched first costs a fault: of training
// LSTM T128 B32 H512, which saves 42 MB, a sixth of the time.
static void ask_for_huge_pages(const Tensor& t) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t huge = 2 << 20, page = 4096;
  if (t.nbytes() < 2 * huge) return;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(t.const_data_ptr()), end = begin + t.nbytes();
  const uintptr_t first = (begin + page - 1) / page * page;
  madvise(reinterpret_cast<void*>(first), (end - first) / page * page, MADV_HUGEPAGE);
#endif
}

Layer::Layer(const Arguments& a, bool widens_input)
    : cell(*a.cell), packed(a.batch_sizes.has_value()), batch_first(a.batch_first && !packed), projected(a.projected),
      recompute(a.recompute && cell.recomputable()), every_c(a.every_state && cell.carries_c),
      learned_state(a.learned_state), heads(a.heads), directions(a.bidirectional ? 2 : 1), format(a.format),
      rounds_rows(a.rounds_rows), input_dtype(a.input.scalar_type()), device(a.input.device()) {
  dtype = weight_dtype = widens_input && input_dtype == at::kBFloat16 ? at::kFloat : input_dtype;
  TORCH_CHECK(a.input.dim() == (packed ? 2 : 3), "Expected input to have ", packed ? 2 : 3, " dimensions, got ",
              a.input.dim(), ": ", a.input.sizes());
  read_weights(a);
  input = operand(a.input, input_dtype, a.input.sizes(), "input");
  if (input.numel() && input.stride(-1) != 1) input = input.contiguous();
  TORCH_CHECK_VALUE(
      !packed || !a.lengths,
      "Expected lengths or a PackedSequence, which has its own, got both; pass padded input with lengths");
  if (packed) {
    read_batch_sizes(*a.batch_sizes);
  } else {
    times = input.size(batch_first ? 1 : 0), batch = input.size(batch_first ? 0 : 1);
    TORCH_CHECK(times > 0, "Expected sequence length to be larger than 0 in RNN, got input of size ", input.sizes());
    if (a.lengths)
      read_lengths(*a.lengths);
    else if (batch > 0)  // a batch of nothing may be longer than memory is
      active.assign(times, batch);
  }
  steps = int64_t(active.size());
  before.assign(active.size() + 1, 0);
  for (size_t t = 0; t < active.size(); ++t)
    TORCH_CHECK(!__builtin_add_overflow(before[t], active[t], &before[t + 1]), "Expected batch_sizes to sum to ",
                input.size(0), ", the rows of packed input, got a sum beyond 2^63");
  rows = before.back();
  TORCH_CHECK(!packed || input.size(0) == rows, "Expected packed input of ", rows,
              " rows (the sum of batch_sizes), got ", input.size(0));
  if (a.resets) read_resets(*a.resets);
  TORCH_CHECK(input.size(-1) == input_size, "input.size(-1) must be equal to input_size. Expected ", input_size,
              ", got ", input.size(-1), " in ", input.sizes());
  if (a.h0) h0 = state(*a.h0, output_size, "h0");
  if (a.c0) {
    TORCH_CHECK(cell.carries_c, "Expected no c0, got one: ", cell.name, " has no state c");
    c0 = state(*a.c0, hidden_size, "c0");
  }
  read_masks(a);
}

// On the CPU not through the dispatcher: it takes 0.3 us, as long as a step of a small layer.
Tensor Layer::empty(at::IntArrayRef sizes, at::ScalarType dtype) const {
  if (!device.is_cpu()) return at::empty(sizes, input.options().dtype(dtype));
  Tensor t = at::detail::empty_cpu(sizes, dtype);
  ask_for_huge_pages(t);
  return t;
}

Tensor Layer::empty_output(at::ScalarType dtype) const {
  const int64_t features = output_features();
  if (packed) return empty({rows, features}, dtype);
  return batch_first ? empty({batch, times, features}, dtype) : empty({times, batch, features}, dtype);
}

Tensor Layer::operand(const Tensor& t, at::ScalarType expected, at::IntArrayRef sizes, const char* name) const {
  check_sizes(t, sizes, name);
  check_device(t, device, name);
  check_dtype(t, expected, name);
  check_in_memory(t, name);
  return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % t.itemsize() ? t.clone() : t;
}

void Layer::read_weights(const Arguments& a) {
  const auto& given = a.weights;
  check_weight_count(a, 1);
  TORCH_CHECK(!projected || cell.projectable(), "Expected no projection for ", cell.name);
  TORCH_CHECK_VALUE(heads > 0, "Expected heads of at least 1, got ", heads);
  if (is_packed(format)) return read_packed_weights(a);
  TORCH_CHECK(given[0].dim() == 2 && given[1].dim() == 2, "Expected weight_ih and weight_hh to have 2 dimensions, got ",
              given[0].dim(), " and ", given[1].dim());
  TORCH_CHECK(given[0].size(0) % cell.input_gates == 0, "Expected weight_ih to have ", cell.input_gates,
              " rows for each hidden unit of ", cell.name, ", got size ", given[0].sizes());
  input_size = given[0].size(1), hidden_size = given[0].size(0) / cell.input_gates;
  TORCH_CHECK(!__builtin_mul_overflow(given[1].size(1), heads, &output_size), "Expected weight_hh of ", heads,
              " heads to have fewer than 2^63 columns in all, got ", given[1].size(1), " for each");
  TORCH_CHECK(hidden_size > 0 && input_size > 0, "Expected sizes greater than zero, got weight_ih of size ",
              given[0].sizes());
  TORCH_CHECK(!projected || (output_size > 0 && output_size < hidden_size), "Expected a projection to 1 to ",
              hidden_size - 1, " features, fewer than the cell has, got weight_hh of size ", given[1].sizes());
  check_heads();
  TORCH_CHECK(projected || output_size == hidden_size, "Expected weight_hh size ",
              at::IntArrayRef{cell.gates_of_state() * hidden_size, hidden_size / heads},
              heads > 1 ? " of " + std::to_string(heads) + " heads" : "", ", got ", given[1].sizes());
  const at::ScalarType stored = given[0].scalar_type();
  if (device.is_cpu() && dtype == at::kFloat && (stored == at::kBFloat16 || stored == at::kHalf)) weight_dtype = stored;
  TORCH_CHECK_VALUE(stored == weight_dtype, "Expected input of the weights' dtype ", name_of(stored), ", got ",
                    name_of(dtype), "; convert input or layer");
  const Tensor* next = given.begin();
  for (int64_t d = 0; d < directions; ++d)
    each_weight(weights[d], a.biases, [&](Tensor& weight, at::IntArrayRef sizes, const char* name) {
      weight = operand(*next++, weight_dtype, sizes, name).contiguous();
    });
}

void Layer::check_heads() const {
  TORCH_CHECK_VALUE(hidden_size % heads == 0 && output_size % heads == 0,
                    "Expected heads that divide the features of the state, ", hidden_size, projected ? " and " : "",
                    projected ? std::to_string(output_size) : "", ", got ", heads);
}

void Layer::read_packed_weights(const Arguments& a) {
  TORCH_CHECK(device.is_cpu() && dtype == at::kFloat,
              "Expected input of dtype float32, bfloat16 or float16 on the cpu for packed weights, got ",
              name_of(dtype), " on ", device);
  input_size = a.input_size, hidden_size = a.hidden_size;
  output_size = projected ? a.projection_size : hidden_size;
  constexpr int64_t most = int64_t(1) << 31;  // sizes in bytes do not overflow
  TORCH_CHECK(input_size > 0 && hidden_size > 0 && input_size < most && hidden_size < most,
              "Expected sizes greater than zero, got input_size ", input_size, " and hidden_size ", hidden_size);
  TORCH_CHECK(!projected || (output_size > 0 && output_size < hidden_size), "Expected a projection to 1 to ",
              hidden_size - 1, " features, fewer than the cell has, got ", output_size);
  TORCH_CHECK(format != WeightFormat::packed_int8 || (input_size <= deepest_int8 && hidden_size <= deepest_int8),
              "Expected at most ", deepest_int8, " features for int8 weights, got input_size ", input_size,
              " and hidden_size ", hidden_size);
  const Tensor* next = a.weights.begin();
  check_heads();
  auto matrix = [&](Tensor& weight, int64_t gates, int64_t outputs, int64_t depth, const char* name, int64_t of = 1,
                    int64_t more = 0) {
    const int64_t bytes = packed_sizes(format, gates, outputs, depth, of).matrix + more;
    weight = operand(*next++, at::kByte, {bytes}, name).contiguous();
  };
  auto vector = [&](Tensor& weight, int64_t size, const char* name) {
    weight = operand(*next++, dtype, {size}, name).contiguous();
  };
  const int64_t gated = cell.gated ? packed_sizes(format, 1, hidden_size, output_size, heads).matrix : 0;
  for (int64_t d = 0; d < directions; ++d) {
    DirectionWeights& of = weights[d];
    matrix(of.w_ih, cell.input_gates, hidden_size, input_size, "packed weight_ih");
    matrix(of.w_hh, cell.recurrent_gates, hidden_size, output_size, "packed weight_hh", heads, gated);
    if (a.biases) {
      vector(of.b_ih, cell.input_gates * hidden_size, "bias_ih");
      vector(of.b_hh, cell.gates_of_state() * hidden_size, "bias_hh");
    }
    if (projected) matrix(of.w_hr, 1, output_size, hidden_size, "packed weight_hr");
    for (int k = 0; k < cell.vectors; ++k)
      vector(of.vectors[k], cell.vector_size(k) * hidden_size, cell.vector_names[k]);
    if (learned_state) vector(of.h_0, output_size, "h_0");
    if (learned_state && cell.carries_c) vector(of.c_0, hidden_size, "c_0");
  }
}

void Layer::read_batch_sizes(const Tensor& sizes) {
  TORCH_CHECK(sizes.dim() == 1 && sizes.scalar_type() == at::kLong && sizes.device().is_cpu() && sizes.is_contiguous(),
              "Expected batch_sizes to be a contiguous 1-D int64 tensor on the cpu, got ", sizes.dim(), "-D ",
              name_of(sizes.scalar_type()), " on ", sizes.device());
  check_in_memory(sizes, "batch_sizes");
  const int64_t* n = sizes.const_data_ptr<int64_t>();
  active.assign(n, n + sizes.numel());
  times = sizes.numel(), batch = times > 0 ? active[0] : 0;
  TORCH_CHECK_INDEX(times > 0, "Expected batch_sizes of at least one step, got none");
  for (size_t t = 0; t < active.size(); ++t)
    TORCH_CHECK(active[t] > 0 && (t == 0 || active[t] <= active[t - 1]),
                "Expected batch_sizes to be positive and not to increase, got ", active[t], " at ", t);
}

// Sorts the rows by length, longest first, those of equal length in their order.
void Layer::read_lengths(const Tensor& lengths) {
  TORCH_CHECK_VALUE(lengths.scalar_type() == at::kLong && lengths.device().is_cpu(),
                    "Expected lengths to be an int64 tensor on the cpu, got ", name_of(lengths.scalar_type()), " on ",
                    lengths.device());
  TORCH_CHECK_VALUE(lengths.dim() == 1 && lengths.size(0) == batch, "Expected lengths of size [", batch,
                    "], one for each row of the batch, got size ", lengths.sizes());
  check_in_memory(lengths, "lengths");
  const Tensor given = lengths.contiguous();
  const int64_t* n = given.const_data_ptr<int64_t>();
  active.assign(batch > 0 ? times : 0, 0);
  for (int64_t b = 0; b < batch; ++b) {
    TORCH_CHECK_VALUE(n[b] >= 0 && n[b] <= times, "Expected lengths from 0 to ", times,
                      ", the steps of the input, got ", n[b], " at ", b);
    if (n[b] > 0) ++active[n[b] - 1];  // rows of just this length, and then of at least it
  }
  for (size_t t = active.size(); t > 1; --t) active[t - 2] += active[t - 1];
  while (active.size() > 1 && active.back() == 0) active.pop_back();
  if (std::is_sorted(n, n + batch, std::greater<int64_t>())) return;
  std::vector<int64_t> next = active;  // place of the next row of each length: so many are longer
  next.push_back(0);
  row_of.resize(batch);
  for (int64_t b = 0; b < batch; ++b) row_of[next[n[b]]++] = b;
}

// The CPU's kernels want to know of every row at every time, wherever a tensor has it. Those of a GPU read the tensor:
// a copy would have to wait for it.
void Layer::read_resets(const Tensor& given) {
  TORCH_CHECK_VALUE(given.scalar_type() == at::kBool, "Expected resets of dtype torch.bool, got ",
                    name_of(given.scalar_type()), "; convert it with .bool()");
  const at::IntArrayRef expected = input.sizes().slice(0, input.dim() - 1);
  TORCH_CHECK_VALUE(given.sizes() == expected, "Expected resets of size ", expected, ", that of the input without its ",
                    "features, got size ", given.sizes());
  check_device(given, device, "resets");
  check_in_memory(given, "resets");
  given_resets = given;
  if (!device.is_cpu() || batch == 0) return;
  const bool* from = given.const_data_ptr<bool>();
  const int64_t step = packed ? 0 : given.stride(batch_first ? 1 : 0);
  const int64_t row = given.stride(packed || batch_first ? 0 : 1);
  bool any = false;
  resets.assign(steps * batch, false);
  for (int64_t t = 0; t < steps; ++t)
    for (int64_t b = 0; b < active[t]; ++b) {
      const int64_t place = packed ? before[t] + b : row_of.empty() ? b : row_of[b];
      any |= resets[t * batch + b] = from[t * step + place * row];
    }
  if (!any) resets.clear();
}

void Layer::read_masks(const Arguments& a) {
  TORCH_CHECK(!a.zoneout_c || cell.carries_c, "Expected no zoneout_c, got one: ", cell.name, " has no state c");
  if (a.recurrent_mask) {
    // While packed input is traced, how many rows the batch has is not known, and there are masks for more.
    const int64_t given = packed && a.recurrent_mask->dim() == 3 ? a.recurrent_mask->size(1) : batch;
    const std::vector<int64_t> sizes = {directions, std::max(batch, given), output_size};
    recurrent_mask = operand(*a.recurrent_mask, dtype, sizes, "recurrent_mask").contiguous();
  }
  auto of_rows = [&](const OptionalTensor& mask, int64_t features, const char* name) {
    if (!mask) return Tensor();
    std::vector<int64_t> sizes = input.sizes().vec();
    sizes.back() = directions * features;
    const Tensor t = operand(*mask, dtype, sizes, name);
    return t.numel() && t.stride(-1) != 1 ? t.contiguous() : t;
  };
  zoneout_h = of_rows(a.zoneout_h, output_size, "zoneout_h");
  zoneout_c = of_rows(a.zoneout_c, hidden_size, "zoneout_c");
}

void clear_beyond_ends(const Layer& layer, const Tensor& t) {
  if (layer.packed || !t.defined() || layer.rows == layer.times * layer.batch) return;
  const int64_t step = t.stride(layer.batch_first ? 1 : 0), row = t.stride(layer.batch_first ? 0 : 1);
  const size_t bytes = size_t(t.size(-1)) * t.itemsize();
  char* const data = static_cast<char*>(t.mutable_data_ptr());
  for (int64_t time = 0; time < layer.times; ++time)
    for (int64_t b = time < layer.steps ? layer.active[time] : 0; b < layer.batch; ++b) {
      const int64_t place = layer.row_of.empty() ? b : layer.row_of[b];
      memset(data + (time * step + place * row) * t.itemsize(), 0, bytes);
    }
}

Tensor Layer::state(const Tensor& t, int64_t size, const char* name) const {
  return operand(t, dtype, {directions, batch, size}, name).contiguous();
}

}  // namespace fastrnn
