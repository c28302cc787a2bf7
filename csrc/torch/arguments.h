// What a layer is called with. One object from the operators' border to the kernels: an operand or option is named
// here, in the schema, and where it is used.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>

#include <optional>
#include <vector>

#include "../cells/registry.h"
#include "../sequence/packed.h"

namespace fastrnn {

using OptionalTensor = std::optional<at::Tensor>;

// Throws ValueError where no cell has this name.
const CellDescription& cell_named(std::string_view name);

// "float32", "bfloat16" or "int8": what the numbers of packed matrices are. Throws ValueError at any other name.
WeightFormat packed_format_named(std::string_view name);

// The operands are held for the time of the call: another thread may drop them meanwhile.
struct Arguments {
  const CellDescription* cell = nullptr;
  at::Tensor input;
  OptionalTensor batch_sizes, h0, c0;
  // Of padded input: steps of each row of the batch, int64 on the CPU, in any order; and where a row begins anew, bool
  // shaped as the input without its features.
  OptionalTensor lengths, resets;
  // Recurrent dropout: what h_{t-1} is multiplied by before W_hh, (directions, batch, output_size). Zoneout: how much
  // of h_{t-1} and c_{t-1} a step keeps, shaped as the output with the features of h and of c. In the input's dtype.
  OptionalTensor recurrent_mask, zoneout_h, zoneout_c;
  // In each direction as torch.nn orders them: w_ih, w_hh, b_ih, b_hh with `biases`, w_hr with `projected`,
  // the cell's own vectors, with `learned_state` h_0 and, where the cell carries c, c_0.
  c10::SmallVector<at::Tensor, 4> weights;
  bool biases = true, bidirectional = false, batch_first = false;
  bool projected = false;
  bool recompute = false;      // save next to nothing, and let the backward pass compute it again
  bool every_state = false;    // where the cell carries c, c after every step follows h in the output
  bool learned_state = false;  // rows begin with h_0 and c_0 where none is given, and after resets
  int64_t heads = 1;           // of h: w_hh has output_size / heads columns, of the head that a unit belongs to
  // Of matrices that are packed once and for all, from which the sizes cannot be read.
  WeightFormat format = WeightFormat::same;
  int64_t input_size = 0, hidden_size = 0, projection_size = 0;
  // Products round their rows to bfloat16, as those of plain bfloat16 layers do where the processor multiplies it.
  bool rounds_rows = false;

  // As the dispatcher wants them.
  std::vector<at::Tensor> weight_vector() const { return {weights.begin(), weights.end()}; }
};

inline constexpr bool Arguments::* options[] = {
    &Arguments::biases,    &Arguments::bidirectional, &Arguments::batch_first,  &Arguments::projected,
    &Arguments::recompute, &Arguments::every_state,   &Arguments::learned_state};

// Moves the arguments of an operator, in the schema's order, off the dispatcher's stack. The stack keeps empty places,
// to be dropped. (Copies instead cost 0.3 us of the 22 of a small layer's backward pass.)
class Reader {
 public:
  Reader(torch::jit::Stack& stack, size_t count) : next(stack.end() - count) {}

  template <class... Fields>
  void take(Fields&... fields) {
    ((fields = std::move(*next++).template to<Fields>()), ...);
  }
  void take_cell(Arguments& to);
  void take_format(Arguments& to);
  void take_operands(Arguments& to);  // input, batch_sizes, h0, c0, weights

 private:
  torch::jit::Stack::iterator next;
};

}  // namespace fastrnn
