"""Floating-point operations of the operators, for torch.utils.flop_counter.FlopCounterMode.

Counted as torch counts: the matrix products alone, two operations for each multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fastrnn._core.extension import _C as _C  # whose operators these are


def _matrices(weights: Sequence[Tensor], bidirectional: bool) -> list[list[int]]:
    """The sizes of w_ih, w_hh and perhaps w_hr in each direction."""
    half = len(weights) // 2 if bidirectional else len(weights)
    directions = (weights[:half], weights[half:]) if bidirectional else (weights,)
    return [[w.numel() for w in direction if w.dim() == 2] for direction in directions]


def _rows(input: Tensor) -> int:
    return input.shape[:-1].numel()


@register_flop_formula(torch.ops.fastrnn.forward, get_raw=True)
def forward_flops(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    biases: bool,
    bidirectional: bool,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Every row of the input meets every weight matrix once."""
    return 2 * _rows(input) * sum(map(sum, _matrices(weights, bidirectional)))


@register_flop_formula(torch.ops.fastrnn.backward, get_raw=True)
def backward_flops(
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
    *args: Any,
    **kwargs: Any,
) -> int:
    """A product for each gradient that is wanted, and those with w_hh and w_hr that carry gradients through time.

    The first step passes nothing on, unless the gradient of h_0 is wanted. Recomputing repeats the forward products.
    """
    rows = _rows(input)
    matrices = _matrices(weights, bidirectional)
    wanted = iter(needs[3:])
    flops = 0
    for direction, sizes in enumerate(matrices):
        own = [next(wanted) for _ in range(len(weights) // len(matrices))]
        need = [n for n, w in zip(own, weights, strict=False) if w.dim() == 2]
        first = 0 if needs[1] else _rows_of_the_first_step(input, batch_sizes, batch_first, reverse=direction == 1)
        carried = [rows if needs[0] else 0, rows - first, *[rows] * (len(sizes) - 2)]
        for size, n, rows_carried in zip(sizes, need, carried, strict=True):
            flops += 2 * size * (rows_carried + (rows if n else 0))
        if saved.dim() == 4:
            flops += 2 * rows * sum(sizes[:2])
    return flops


@register_flop_formula(torch.ops.fastrnn.linear_cross_entropy, get_raw=True)
def loss_flops(input: Tensor, linear_weight: Tensor, *args: Any, **kwargs: Any) -> int:
    """The logits, and a product for each gradient that is wanted."""
    needs = kwargs["needs"] if "needs" in kwargs else args[-1]
    return 2 * _rows(input) * linear_weight.numel() * (1 + sum(needs[:2]))


@register_flop_formula(torch.ops.fastrnn.linear_cross_entropy_backward, get_raw=True)
def loss_backward_flops(d_loss: Tensor, input: Tensor, linear_weight: Tensor, *args: Any, **kwargs: Any) -> int:
    """The same, since the logits are computed again."""
    return loss_flops(input, linear_weight, *args, **kwargs)


def _rows_of_the_first_step(input: Tensor, batch_sizes: Tensor | None, batch_first: bool, reverse: bool) -> int:
    if batch_sizes is None:
        return input.size(0 if batch_first else 1)
    return int(batch_sizes[-1 if reverse else 0])
