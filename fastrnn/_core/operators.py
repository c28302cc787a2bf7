"""The operators of the C++ core, the shapes of what they return, and their flops.

``torch.ops.fastrnn.forward`` and ``.backward`` are declared in csrc/torch/module.cpp. The shape functions here let
torch.compile, torch.export and the meta device work with them without running a kernel.

An exported program calls these operators. In a process that has no layer, ``import fastrnn.ops`` before
``torch.export.load`` registers them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastrnn._core.extension import _C as _C
from fastrnn._core.flops import backward_flops as backward_flops  # registers the formulas

forward = torch.ops.fastrnn.forward.default
backward = torch.ops.fastrnn.backward.default
infer = torch.ops.fastrnn.infer.default
linear_cross_entropy = torch.ops.fastrnn.linear_cross_entropy.default
linear_cross_entropy_backward = torch.ops.fastrnn.linear_cross_entropy_backward.default

_Size = int | torch.SymInt
_SAVES = {"rnn_tanh": 0, "rnn_relu": 0, "rnn_sigmoid": 0, "gru": 4, "gru_reset_before": 4, "lstm": 5}
_CACHE_LINE = 64
_LEAST_STEPS_PER_CHECKPOINT = 8  # as in csrc/sequence/problem.h and csrc/cuda/direction.cpp
_ROWS_PER_CHECKPOINT = 2048  # as in csrc/cuda/direction.cpp


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
    times = input.size(1 if batch_first else 0) if batch_sizes is None else batch_sizes.size(0)
    numbers = _SAVES[cell] + per_direction % 2 if _SAVES[cell] else 0  # of a unit in a row
    if input.is_cuda:
        saved = _saved_on_cuda(input, numbers, rows, batch, times, hidden_size, recompute)
    else:
        saved = _saved_on_cpu(input, numbers, rows, batch, times, hidden_size, recompute, cell == "lstm")
    return output, hn, cn, saved.new_empty(directions, *saved.shape)


@torch.library.register_fake("fastrnn::infer")
def _infer_shapes(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    num_layers: int,
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    first = weights[: len(weights) // num_layers]
    output, hn, cn, _ = _forward_shapes(
        cell, input, batch_sizes, h0, c0, first, biases, bidirectional, batch_first, save=False
    )
    rows = num_layers * hn.size(0)
    return output, hn.new_empty(rows, *hn.shape[1:]), cn.new_empty(rows, *cn.shape[1:]) if cell == "lstm" else cn


def _saved_on_cpu(
    input: Tensor,
    numbers: int,
    rows: _Size,
    batch: _Size,
    times: _Size,
    hidden: _Size,
    recompute: bool,
    carries_c: bool,
) -> Tensor:
    per_line = _CACHE_LINE // input.dtype.itemsize
    width = (hidden + per_line - 1) // per_line * per_line
    if not recompute or not numbers:
        return input.new_empty(rows, numbers * width)
    checkpoints = (times + _LEAST_STEPS_PER_CHECKPOINT - 1) // _LEAST_STEPS_PER_CHECKPOINT
    return input.new_empty(checkpoints, batch, width if carries_c else 0)


def _saved_on_cuda(
    input: Tensor, numbers: int, rows: _Size, batch: _Size, times: _Size, hidden: _Size, recompute: bool
) -> Tensor:
    accumulated = torch.float64 if input.dtype == torch.float64 else torch.float32
    if not recompute or not numbers:
        return input.new_empty(rows, numbers * hidden, dtype=accumulated)
    steps = torch.sym_max(_LEAST_STEPS_PER_CHECKPOINT, (_ROWS_PER_CHECKPOINT + batch - 1) // torch.sym_max(1, batch))
    return input.new_empty((times + steps - 1) // steps, batch, hidden, dtype=accumulated)


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


@torch.library.register_fake("fastrnn::linear_cross_entropy")
def _loss_shapes(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    loss = input.new_empty(input.shape[:1] if reduction == "none" else ())
    computed = torch.float64 if input.dtype == torch.float64 else torch.float32
    gradients = (
        t.new_empty(t.shape if need else 0, dtype=computed) if t is not None else input.new_empty(0, dtype=computed)
        for t, need in zip((input, linear_weight, linear_bias), needs, strict=True)
    )
    return (loss, *gradients)  # type: ignore[return-value]


@torch.library.register_fake("fastrnn::linear_cross_entropy_backward")
def _loss_backward_shapes(
    d_loss: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(  # type: ignore[return-value]
        t.new_empty(t.shape if need else 0) if t is not None else input.new_empty(0)
        for t, need in zip((input, linear_weight, linear_bias), needs, strict=True)
    )
