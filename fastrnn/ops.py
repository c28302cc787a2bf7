"""The operators of the C++ core, and the shapes of what they return.

``torch.ops.fastrnn.forward`` and ``.backward`` are declared in csrc/ops.cpp. The shape functions here let
torch.compile, torch.export and the meta device work with them without running a kernel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastrnn import _C as _C

forward = torch.ops.fastrnn.forward.default
backward = torch.ops.fastrnn.backward.default

_SAVES = {"rnn_tanh": 0, "rnn_relu": 0, "rnn_sigmoid": 0, "gru": 4, "gru_reset_before": 4, "lstm": 5}
_CACHE_LINE = 64
_LEAST_STEPS_PER_CHECKPOINT = 8  # as in csrc/cpu/problem.h


@torch.library.register_fake("fastrnn::forward")
def _forward_shapes(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
    save: bool,
    recompute: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    directions = 2 if bidirectional else 1
    per_direction = len(weights) // directions
    output_size = weights[1].size(1)
    hidden_size = weights[per_direction - 1].size(1) if per_direction % 2 else output_size
    if batch_sizes is None:
        rows: int | torch.SymInt = input.size(0) * input.size(1)
        batch: int | torch.SymInt = input.size(0 if batch_first else 1)
    else:
        rows = input.size(0)
        # The longest batch is a number inside a tensor: known when there is data, else a size of its own.
        batch = h0.size(1) if h0 is not None else torch.library.get_ctx().new_dynamic_size()
    output = input.new_empty(*input.shape[:-1], directions * output_size)
    hn = input.new_empty(directions, batch, output_size)
    cn = input.new_empty(directions, batch, hidden_size) if cell == "lstm" else input.new_empty(0)
    if not save:
        return output, hn, cn, input.new_empty(0)
    per_line = _CACHE_LINE // input.dtype.itemsize
    width = (hidden_size + per_line - 1) // per_line * per_line
    if recompute and _SAVES[cell]:
        times = input.size(1 if batch_first else 0) if batch_sizes is None else batch_sizes.size(0)
        checkpoints = (times + _LEAST_STEPS_PER_CHECKPOINT - 1) // _LEAST_STEPS_PER_CHECKPOINT
        return output, hn, cn, input.new_empty(directions, checkpoints, batch, width if cell == "lstm" else 0)
    numbers = (_SAVES[cell] + per_direction % 2) * width
    return output, hn, cn, input.new_empty(directions, rows, numbers)


@torch.library.register_fake("fastrnn::backward")
def _backward_shapes(
    cell: str,
    d_output: Tensor | None,
    d_hn: Tensor | None,
    d_cn: Tensor | None,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    output: Tensor,
    saved: Tensor,
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
    needs: Sequence[bool],
) -> list[Tensor]:
    operands = [input, h0, c0, *weights]
    return [
        t.new_empty(t.shape) if t is not None and need else input.new_empty(0)
        for t, need in zip(operands, needs, strict=True)
    ]
