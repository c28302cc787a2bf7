// A layer of a user's cell, all its directions: what the operators fastrnn::cell_forward and cell_backward compute on
// the CPU. The loops over time are cpu/cell_forward.h and cell_backward.h.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "arguments.h"
#include "user_cell_text.h"

namespace fastrnn {

// T steps, B rows, D directions, N rows of all times together. All time first.
struct UserCellOperands {
  at::Tensor input;                  // (T, B, I), or packed (N, I)
  OptionalTensor batch_sizes;        // int64 (T) of packed input: rows that are active at each step
  OptionalTensor lengths;            // int64 (B) of padded input, in any order
  OptionalTensor resets;             // bool, shaped as the input without features: rows that begin anew
  std::vector<at::Tensor> per_step;  // shaped as the input with one feature, the numbers of each step
  std::vector<at::Tensor> states;    // (D, B, H) of each state, or none where all begin as the cell says
  std::vector<at::Tensor> weights;   // of each direction; see UserCell::weights
  bool biases = true;

  // The operands that can have a gradient, in the order in which cell_backward returns theirs.
  std::vector<at::Tensor> differentiable() const;
};

struct UserCellResults {
  std::vector<at::Tensor> every;  // of each state (T, B, D H) or (N, D H); empty where it was not asked for
  std::vector<at::Tensor> last;   // (D, B, H) of each state
  at::Tensor saved;               // (D, N, saves H), of rows longest first; empty where nothing is to be saved
};

// h after every step; with `every_state` all states; with `save` those that backward reads.
UserCellResults forward(const UserCell& cell, const UserCellOperands& operands, bool every_state, bool save);

// The gradients that `needs` asks for, empty where it does not. `every` and `saved` as forward returned them; gradients
// that are not given are undefined.
std::vector<at::Tensor> backward(const UserCell& cell, const UserCellOperands& operands,
                                 const std::vector<at::Tensor>& d_every, const std::vector<at::Tensor>& d_last,
                                 const std::vector<at::Tensor>& every, const at::Tensor& saved,
                                 const std::vector<bool>& needs);

}  // namespace fastrnn
