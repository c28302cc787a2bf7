"""Floating-point operations of the operators, for torch.utils.flop_counter.FlopCounterMode.

Counted as torch counts: the matrix products alone, two operations for each multiply-add.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from fastrnn._core import operators
from fastrnn._core.call import Call


def _matrices(call: Call) -> list[dict[str, int]]:
    """The sizes of w_ih, w_hh and perhaps w_hr in each direction."""
    names = call.weight_names()
    directions = [call.weights[d * len(names) :][: len(names)] for d in range(call.directions())]
    return [{n: w.numel() for n, w in zip(names, weights, strict=True) if n in _MATRICES} for weights in directions]


_MATRICES = ("w_ih", "w_hh", "w_hr")


def _rows(input: Tensor) -> int:
    return input.shape[:-1].numel()


@register_flop_formula(torch.ops.fastrnn.forward, get_raw=True)
def forward_flops(*arguments: Any, out_val: Any = None) -> int:
    """Every row of the input meets every weight matrix once."""
    call, _ = operators.forward_call(*arguments)
    return 2 * _rows(call.input) * sum(sum(sizes.values()) for sizes in _matrices(call))


@register_flop_formula(torch.ops.fastrnn.backward, get_raw=True)
def backward_flops(*arguments: Any, out_val: Any = None) -> int:
    """A product for each gradient that is wanted, and those with w_hh and w_hr that carry gradients through time.

    The first step passes nothing on, unless the gradient of h_0 is wanted. Recomputing repeats the forward products.
    """
    call, given = operators.backward_call(*arguments)
    of_input, of_h0, _, *of_weights = given.needs
    rows = _rows(call.input)
    wanted = iter(of_weights)
    flops = 0
    for direction, sizes in enumerate(_matrices(call)):
        first = 0 if of_h0 else _rows_of_the_first_step(call, reverse=direction == 1)
        carried = {"w_ih": rows if of_input else 0, "w_hh": rows - first, "w_hr": rows}
        for name, need in zip(call.weight_names(), wanted, strict=False):
            if name in sizes:
                flops += 2 * sizes[name] * (carried[name] + (rows if need else 0))
        if call.recompute and call.cell.recomputable:
            flops += 2 * rows * (sizes["w_ih"] + sizes["w_hh"])
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


def _rows_of_the_first_step(call: Call, reverse: bool) -> int:
    if call.batch_sizes is None:
        return call.input.size(call.batch_axis())
    return int(call.batch_sizes[-1 if reverse else 0])
