#include "user_cell_call.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "../cpu/interpreter_table.h"
#include "../cpu/thread_count.h"
#include "layer.h"
#include "threads.h"
#include "user_cell_rows.h"

namespace fastrnn {

using at::Tensor;

namespace {

template <class T>
constexpr at::ScalarType dtype_of = sizeof(T) == 4 ? at::kFloat : at::kDouble;

template <class T>
const CellPasses<T>& passes() {
  if constexpr (sizeof(T) == 4)
    return interpreter().of_float;
  else
    return interpreter().of_double;
}

// A call with its operands checked and laid out as the loop reads them.
template <class T>
class Call {
 public:
  Call(const UserCell& cell, const UserCellOperands& given)
      : cell(cell), given(given), rows(given.input, given.batch_sizes, given.lengths), options(given.input.options()),
        directions(count_directions()), hidden(read_hidden()) {
    const Tensor& input = given.input;
    TORCH_CHECK(!rows.packed || input.size(0) == rows.count, "Expected packed input of ", rows.count,
                " rows (the sum of batch_sizes), got ", input.size(0));
    x = rows.to_rows(operand(input, input.sizes(), "input"));
    std::vector<int64_t> sizes(input.sizes().begin(), input.sizes().end());
    sizes.back() = 1;
    TORCH_CHECK(int(given.per_step.size()) == cell.per_step, "Expected ", cell.per_step,
                " tensors of numbers per step, got ", given.per_step.size());
    for (const Tensor& t : given.per_step) numbers.push_back(rows.to_rows(operand(t, sizes, "numbers per step")));
    sizes.pop_back();
    if (given.resets) {
      check_sizes(*given.resets, sizes, "resets");
      check_device(*given.resets, at::kCPU, "resets");
      check_dtype(*given.resets, at::kBool, "resets");
      check_in_memory(*given.resets, "resets");
      resets = rows.packed ? given.resets->contiguous() : rows.to_rows(given.resets->unsqueeze(2));
    }
    TORCH_CHECK(given.states.empty() || int(given.states.size()) == cell.states(), "Expected ", cell.states(),
                " initial states or none, got ", given.states.size());
    for (const Tensor& t : given.states)
      initial.push_back(rows.to_order(operand(t, {directions, rows.batch, hidden}, "an initial state")).contiguous());
    begin = at::empty({cell.states(), hidden}, options);
    for (int k = 0; k < cell.states(); ++k) std::fill_n(begin.data_ptr<T>() + k * hidden, hidden, T(cell.begin[k]));
    for (int64_t d = 0; d < directions; ++d) weights.push_back(read_weights(d));
  }

  UserCellResults forward(bool every_state, bool save) const {
    UserCellResults results;
    std::vector<std::vector<Tensor>> every(cell.states());
    std::vector<bool> kept(cell.states(), every_state);
    kept[0] = true;
    for (int k : cell.stored) kept[k] = kept[k] || save;
    for (int k = 0; k < cell.states(); ++k)
      results.last.push_back(at::empty({directions, rows.batch, hidden}, options));
    results.saved = save ? at::empty({directions, rows.count, cell.saves * hidden}, options) : at::empty({0}, options);
    for (int64_t d = 0; d < directions; ++d) {
      CellLoop<T> p = loop(d);
      p.step = (save ? cell.forward : cell.inference).program();
      for (int k = 0; k < cell.states(); ++k) {
        if (kept[k]) p.every[k] = numbers_of(every[k].emplace_back(cleared({rows.count, hidden})));
        p.last[k] = numbers_of(results.last[k]) + d * rows.batch * hidden;
      }
      if (save) p.saved = numbers_of(results.saved) + d * rows.count * cell.saves * hidden;
      run(passes<T>().forward, p);
    }
    for (int k = 0; k < cell.states(); ++k) {
      results.every.push_back(kept[k] ? joined(every[k]) : at::empty({0}, options));
      results.last[k] = rows.from_order(results.last[k]);
    }
    return results;
  }

  std::vector<Tensor> backward(const std::vector<Tensor>& d_every, const std::vector<Tensor>& d_last,
                               const std::vector<Tensor>& every, const Tensor& saved,
                               const std::vector<bool>& needs) const {
    const size_t states = cell.states();
    TORCH_CHECK(d_every.size() == states && d_last.size() == states && every.size() == states, "Expected ", states,
                " states, their gradients and those of the last, got ", every.size(), ", ", d_every.size(), " and ",
                d_last.size());
    const std::vector<Tensor> of = given.differentiable();
    TORCH_CHECK(needs.size() == of.size(), "Expected whether each of ", of.size(), " gradients is needed, got ",
                needs.size());
    const Tensor saved_rows = operand(saved, {directions, rows.count, cell.saves * hidden}, "saved");
    const size_t first_state = 1 + cell.per_step, first_weight = first_state + given.states.size();

    std::vector<Tensor> found(needs.size());
    for (size_t i = first_state; i < needs.size(); ++i)
      if (needs[i]) found[i] = rows.has_steps() ? at::empty(of[i].sizes(), options) : at::zeros(of[i].sizes(), options);
    for (int64_t d = 0; d < directions; ++d) {
      CellLoop<T> p = loop(d);
      std::vector<Tensor> held;  // as long as the loop reads them
      const auto of_direction = [&](const Tensor& t) {
        return held.emplace_back(t.contiguous()).template data_ptr<T>();
      };
      const auto every_row = [&](const Tensor& t, const char* name) {
        const Tensor checked = operand(t, blank_sizes(), name);
        return of_direction(rows.to_rows(checked.narrow(-1, d * hidden, hidden)));
      };
      p.every[0] = every_row(every[0], "h after every step");
      for (int k : cell.stored) p.every[k] = every_row(every[k], "a state after every step");
      for (size_t k = 0; k < states; ++k) {
        if (d_every[k].defined()) p.d_every[k] = every_row(d_every[k], "the gradient of a state after every step");
        if (!d_last[k].defined()) continue;
        const Tensor checked = operand(d_last[k], {directions, rows.batch, hidden}, "the gradient of a last state");
        p.d_last[k] = of_direction(rows.to_order(checked.select(0, d).unsqueeze(0)));
      }
      p.saved = numbers_of(saved_rows) + d * rows.count * cell.saves * hidden;
      const Tensor d_x = needs[0] ? cleared({rows.count, x.size(1)}) : Tensor();
      const Tensor d_numbers = cleared({rows.count, cell.per_step});
      p.d_numbers = numbers_of(d_numbers);
      p.d_x = needs[0] ? numbers_of(d_x) : nullptr;
      for (size_t k = 0; k < given.states.size(); ++k)
        if (needs[first_state + k]) p.d_initial[k] = numbers_of(found[first_state + k]) + d * rows.batch * hidden;
      T** const gradients[] = {&p.d_w_ih, &p.d_w_hh, &p.d_b_ih, &p.d_b_hh};
      size_t i = first_weight + d * cell.weights(given.biases);
      const auto next = [&](T*& to) {
        if (needs[i]) to = numbers_of(found[i]);
        ++i;
      };
      for (int which = 0; which < (given.biases ? 4 : 2); ++which)
        if (which % 2 == 0 || cell.recurrent_gates) next(*gradients[which]);
      for (int k = 0; k < cell.vectors; ++k) next(p.d_vector[k]);
      for (int k = 0; k < cell.matrices; ++k) next(p.d_matrix[k]);
      run(passes<T>().backward, p);
      add(found[0], d_x);
      for (int k = 0; k < cell.per_step; ++k)
        if (needs[1 + k]) add(found[1 + k], d_numbers.slice(1, k, k + 1));
    }
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i].defined())
        found[i] = at::empty({0}, options);
      else if (i < first_state)
        found[i] = rows.from_rows(found[i].contiguous());
      else if (i < first_weight)
        found[i] = rows.from_order(found[i]);
    }
    return found;
  }

 private:
  struct Weights {
    Tensor w_ih, w_hh, b_ih, b_hh;  // undefined where there is none
    std::vector<Tensor> vectors, matrices;
    int64_t heads = 1;
  };

  void run(void (*pass)(const CellLoop<T>&), CellLoop<T>& p) const {
    if (rows.batch == 0) return;
    const CallThreads threads(wanted_threads());
    p.threads = threads.count;
    pass(p);
  }
  static T* numbers_of(const Tensor& t) { return t.data_ptr<T>(); }
  static void add(Tensor& sum, const Tensor& of_direction) {
    if (sum.defined())
      sum.add_(of_direction);
    else
      sum = of_direction;
  }

  // t, checked: of this size, the input's dtype, on the CPU, in memory, aligned.
  Tensor operand(const Tensor& t, at::IntArrayRef sizes, const char* name) const {
    check_sizes(t, sizes, name);
    check_device(t, at::kCPU, name);
    check_dtype(t, dtype_of<T>, name);
    check_in_memory(t, name);
    return reinterpret_cast<uintptr_t>(t.const_data_ptr()) % sizeof(T) ? t.clone() : t;
  }
  // Zeros where not every row is written.
  Tensor cleared(at::IntArrayRef sizes) const {
    return rows.ragged ? at::zeros(sizes, options) : at::empty(sizes, options);
  }
  std::vector<int64_t> blank_sizes() const {
    std::vector<int64_t> sizes(given.input.sizes().begin(), given.input.sizes().end());
    sizes.back() = directions * hidden;
    return sizes;
  }
  Tensor joined(const std::vector<Tensor>& of_directions) const {
    return rows.from_rows(directions == 1 ? of_directions[0] : at::cat(of_directions, 1));
  }

  int64_t count_directions() const {
    const int64_t each = cell.weights(given.biases), all = given.weights.size();
    TORCH_CHECK(all == each || all == 2 * each, "Expected ", each, " weights of each of 1 or 2 directions ",
                given.biases ? "with" : "without", " biases, got ", all);
    return all / each;
  }
  int64_t read_hidden() const {
    const Tensor& w_ih = given.weights[0];
    const int64_t gates = cell.input_slots.size();
    TORCH_CHECK(w_ih.dim() == 2 && w_ih.size(0) > 0 && w_ih.size(0) % gates == 0, "Expected weight_ih to have ", gates,
                " rows for each hidden unit, got size ", w_ih.sizes());
    return w_ih.size(0) / gates;
  }
  // What the width of its blocks says.
  int64_t heads_of(const Tensor& matrix) const {
    const int64_t columns = matrix.dim() == 2 ? matrix.size(1) : 0;
    return columns > 0 && hidden % columns == 0 ? hidden / columns : 1;
  }
  Weights read_weights(int64_t d) const {
    const Tensor* next = &given.weights[d * cell.weights(given.biases)];
    const int64_t of_input = cell.input_slots.size() * hidden, of_state = cell.recurrent_gates * hidden;
    const auto take = [&](at::IntArrayRef sizes, const char* name) {
      return operand(*next++, sizes, name).contiguous();
    };
    Weights w;
    w.w_ih = take({of_input, given.input.size(-1)}, "weight_ih");
    if (of_state) w.heads = heads_of(*next), w.w_hh = take({of_state, hidden / w.heads}, "weight_hh");
    if (given.biases) w.b_ih = take({of_input}, "bias_ih");
    if (given.biases && of_state) w.b_hh = take({of_state}, "bias_hh");
    for (int k = 0; k < cell.vectors; ++k) w.vectors.push_back(take({hidden}, "a vector"));
    if (!of_state && cell.matrices) w.heads = heads_of(*next);
    for (int k = 0; k < cell.matrices; ++k) w.matrices.push_back(take({hidden, hidden / w.heads}, "a matrix"));
    return w;
  }

  // What both passes of a direction have in common.
  CellLoop<T> loop(int64_t d) const {
    const auto at_of = [](const Tensor& t) { return t.defined() ? numbers_of(t) : nullptr; };
    CellLoop<T> p{};
    p.gates = cell.gates, p.recurrent_gates = cell.recurrent_gates, p.input_gates = int(cell.input_slots.size());
    p.states = cell.states(), p.vectors = cell.vectors, p.per_step = cell.per_step, p.saves = cell.saves;
    p.reads_h = cell.reads_h, p.reads_y = cell.reads_y;
    std::copy(cell.input_slots.begin(), cell.input_slots.end(), p.input_slots);
    p.stored_states = int(cell.stored.size());
    std::copy(cell.stored.begin(), cell.stored.end(), p.stored);
    p.gradient = cell.backward.program();
    p.matrices = cell.matrices, p.factors = cell.factors(), p.products = int(cell.products.size());
    for (int k = 0; k < p.products; ++k) {
      const UserCell::Product& of = cell.products[k];
      p.product[k] = {of.matrix, of.left, of.right};
    }
    p.reverse = d == 1;
    p.times = rows.times, p.batch = rows.batch, p.hidden = hidden;
    p.first = rows.first.data(), p.active = rows.active.data();
    p.resets = resets.defined() ? static_cast<const uint8_t*>(resets.const_data_ptr()) : nullptr;
    p.input_size = x.size(1), p.x = numbers_of(x);
    const Weights& w = weights[d];
    p.heads = w.heads;
    p.w_ih = at_of(w.w_ih), p.w_hh = at_of(w.w_hh), p.b_ih = at_of(w.b_ih), p.b_hh = at_of(w.b_hh);
    for (int k = 0; k < cell.vectors; ++k) p.vector[k] = numbers_of(w.vectors[k]);
    for (int k = 0; k < cell.matrices; ++k) p.matrix[k] = numbers_of(w.matrices[k]);
    for (int k = 0; k < cell.per_step; ++k) p.numbers[k] = numbers_of(numbers[k]);
    for (int k = 0; k < cell.states(); ++k) {
      p.begin[k] = numbers_of(begin) + k * hidden;
      p.initial[k] = initial.empty() ? nullptr : numbers_of(initial[k]) + d * rows.batch * hidden;
    }
    return p;
  }

  const UserCell& cell;
  const UserCellOperands& given;
  const UserCellRows rows;
  const at::TensorOptions options;
  const int64_t directions, hidden;
  Tensor x, resets, begin;
  std::vector<Tensor> numbers, initial;
  std::vector<Weights> weights;
};

template <class Run>
auto in_dtype(const UserCell& cell, const UserCellOperands& operands, Run run) {
  const NoThreadsInForkedChild guard;
  const at::ScalarType dtype = operands.input.scalar_type();
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kDouble, "Expected input of dtype float32 or float64, got ",
              name_of(dtype));
  return dtype == at::kFloat ? run(Call<float>(cell, operands)) : run(Call<double>(cell, operands));
}

}  // namespace

std::vector<Tensor> UserCellOperands::differentiable() const {
  std::vector<Tensor> all{input};
  for (const auto* of : {&per_step, &states, &weights}) all.insert(all.end(), of->begin(), of->end());
  return all;
}

UserCellResults forward(const UserCell& cell, const UserCellOperands& operands, bool every_state, bool save) {
  return in_dtype(cell, operands, [&](const auto& call) { return call.forward(every_state, save); });
}

std::vector<Tensor> backward(const UserCell& cell, const UserCellOperands& operands, const std::vector<Tensor>& d_every,
                             const std::vector<Tensor>& d_last, const std::vector<Tensor>& every, const Tensor& saved,
                             const std::vector<bool>& needs) {
  return in_dtype(cell, operands,
                  [&](const auto& call) { return call.backward(d_every, d_last, every, saved, needs); });
}

}  // namespace fastrnn
