#include "layer.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/empty.h>
#include <stdint.h>
#include <sys/mman.h>

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
  const int64_t of_layer = directions * (2 + 2 * a.biases + a.projected + cell.vectors);
  TORCH_CHECK(given % of_layer == 0 && given / of_layer == num_layers && given > 0, "Expected ", of_layer,
              " weights for each of ", num_layers, " layer(s) in ", directions, " direction(s) of ", cell.name,
              a.biases ? " with" : " without", " biases and ", a.projected ? "with" : "without", " a projection, got ",
              given);
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
      recompute(a.recompute && cell.saves > 0), directions(a.bidirectional ? 2 : 1), format(a.format),
      rounds_rows(a.rounds_rows), input_dtype(a.input.scalar_type()), device(a.input.device()) {
  dtype = weight_dtype = widens_input && input_dtype == at::kBFloat16 ? at::kFloat : input_dtype;
  TORCH_CHECK(a.input.dim() == (packed ? 2 : 3), "Expected input to have ", packed ? 2 : 3, " dimensions, got ",
              a.input.dim(), ": ", a.input.sizes());
  read_weights(a);
  input = operand(a.input, input_dtype, a.input.sizes(), "input");
  if (input.numel() && input.stride(-1) != 1) input = input.contiguous();
  read_lengths(a.batch_sizes);
  TORCH_CHECK(input.size(-1) == input_size, "input.size(-1) must be equal to input_size. Expected ", input_size,
              ", got ", input.size(-1), " in ", input.sizes());
  if (a.h0) h0 = state(*a.h0, output_size, "h0");
  if (a.c0) {
    TORCH_CHECK(cell.carries_c, "Expected no c0, got one: ", cell.name, " has no state c");
    c0 = state(*a.c0, hidden_size, "c0");
  }
}

// On the CPU not through the dispatcher: it takes 0.3 us, as long as a step of a small layer.
Tensor Layer::empty(at::IntArrayRef sizes, at::ScalarType dtype) const {
  if (!device.is_cpu()) return at::empty(sizes, input.options().dtype(dtype));
  Tensor t = at::detail::empty_cpu(sizes, dtype);
  ask_for_huge_pages(t);
  return t;
}

Tensor Layer::empty_output(at::ScalarType dtype) const {
  int64_t features = directions * output_size;
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
  if (is_packed(format)) return read_packed_weights(a);
  TORCH_CHECK(given[0].dim() == 2 && given[1].dim() == 2, "Expected weight_ih and weight_hh to have 2 dimensions, got ",
              given[0].dim(), " and ", given[1].dim());
  TORCH_CHECK(given[0].size(0) % cell.input_gates == 0, "Expected weight_ih to have ", cell.input_gates,
              " rows for each hidden unit of ", cell.name, ", got size ", given[0].sizes());
  input_size = given[0].size(1), hidden_size = given[0].size(0) / cell.input_gates, output_size = given[1].size(1);
  TORCH_CHECK(hidden_size > 0 && input_size > 0, "Expected sizes greater than zero, got weight_ih of size ",
              given[0].sizes());
  TORCH_CHECK(!projected || (output_size > 0 && output_size < hidden_size), "Expected a projection to 1 to ",
              hidden_size - 1, " features, fewer than the cell has, got weight_hh of size ", given[1].sizes());
  TORCH_CHECK(projected || output_size == hidden_size, "Expected weight_hh size ",
              at::IntArrayRef{cell.gates_of_state() * hidden_size, hidden_size}, ", got ", given[1].sizes());
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
  auto matrix = [&](Tensor& weight, int64_t gates, int64_t outputs, int64_t depth, int64_t more, const char* name) {
    const int64_t bytes = packed_sizes(format, gates, outputs, depth).matrix + more;
    weight = operand(*next++, at::kByte, {bytes}, name).contiguous();
  };
  auto vector = [&](Tensor& weight, int64_t size, const char* name) {
    weight = operand(*next++, dtype, {size}, name).contiguous();
  };
  const int64_t gated = cell.gated ? packed_sizes(format, 1, hidden_size, output_size).matrix : 0;
  for (int64_t d = 0; d < directions; ++d) {
    DirectionWeights& of = weights[d];
    matrix(of.w_ih, cell.input_gates, hidden_size, input_size, 0, "packed weight_ih");
    matrix(of.w_hh, cell.recurrent_gates, hidden_size, output_size, gated, "packed weight_hh");
    if (a.biases) {
      vector(of.b_ih, cell.input_gates * hidden_size, "bias_ih");
      vector(of.b_hh, cell.gates_of_state() * hidden_size, "bias_hh");
    }
    if (projected) matrix(of.w_hr, 1, output_size, hidden_size, 0, "packed weight_hr");
    for (int k = 0; k < cell.vectors; ++k) vector(of.vectors[k], hidden_size, cell.vector_names[k]);
  }
}

void Layer::read_lengths(const OptionalTensor& batch_sizes) {
  if (packed) {
    const Tensor& sizes = *batch_sizes;
    TORCH_CHECK(
        sizes.dim() == 1 && sizes.scalar_type() == at::kLong && sizes.device().is_cpu() && sizes.is_contiguous(),
        "Expected batch_sizes to be a contiguous 1-D int64 tensor on the cpu, got ", sizes.dim(), "-D ",
        name_of(sizes.scalar_type()), " on ", sizes.device());
    check_in_memory(sizes, "batch_sizes");
    const int64_t* n = sizes.const_data_ptr<int64_t>();
    active.assign(n, n + sizes.numel());
    times = sizes.numel(), batch = times > 0 ? active[0] : 0;
  } else {
    times = input.size(batch_first ? 1 : 0), batch = input.size(batch_first ? 0 : 1);
    if (batch > 0) active.assign(times, batch);  // a batch of nothing may be longer than memory is
  }
  TORCH_CHECK_INDEX(!packed || times > 0, "Expected batch_sizes of at least one step, got none");
  TORCH_CHECK(times > 0, "Expected sequence length to be larger than 0 in RNN, got input of size ", input.sizes());
  before.assign(active.size() + 1, 0);
  for (size_t t = 0; t < active.size(); ++t) {
    TORCH_CHECK(!packed || (active[t] > 0 && (t == 0 || active[t] <= active[t - 1])),
                "Expected batch_sizes to be positive and not to increase, got ", active[t], " at ", t);
    TORCH_CHECK(!__builtin_add_overflow(before[t], active[t], &before[t + 1]), "Expected batch_sizes to sum to ",
                input.size(0), ", the rows of packed input, got a sum beyond 2^63");
  }
  rows = before.back();
  TORCH_CHECK(!packed || input.size(0) == rows, "Expected packed input of ", rows,
              " rows (the sum of batch_sizes), got ", input.size(0));
}

Tensor Layer::state(const Tensor& t, int64_t size, const char* name) const {
  return operand(t, dtype, {directions, batch, size}, name).contiguous();
}

}  // namespace fastrnn
