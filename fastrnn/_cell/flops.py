"""Floating-point operations of the operators of users' cells, for FlopCounterMode: as fastrnn/_core/flops.py."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from fastrnn._cell import operators
from fastrnn._core.operators import by_name


@register_flop_formula(torch.ops.fastrnn.cell_forward, get_raw=True)
def forward_flops(*arguments: Any, out_val: Any = None) -> int:
    """Every row of the input meets every matrix once, and those of the step at each of its products."""
    given = by_name(operators.forward, arguments)
    cell, flops = operators.sizes(given["program"]), 0
    for i, w in enumerate(given["weights"]):
        flops += 2 * given["input"].shape[:-1].numel() * w.numel() * _products(cell, given["biases"], i)
    return flops


@register_flop_formula(torch.ops.fastrnn.cell_backward, get_raw=True)
def backward_flops(*arguments: Any, out_val: Any = None) -> int:
    """A product for each gradient that is wanted, and those with w_hh that carry gradients through time.

    The first step passes nothing on, unless the gradient of an initial state is wanted. A matrix of the step carries at
    every step, to the gates before it.
    """
    given = by_name(operators.backward, arguments)
    cell, needs = operators.sizes(given["program"]), given["needs"]
    rows = given["input"].shape[:-1].numel()
    first_state = 1 + len(given["per_step"] or ())
    first_weight = first_state + len(given["states"] or ())
    of_states, of_weights = any(needs[first_state:first_weight]), needs[first_weight:]
    each, flops = cell.weights(given["biases"]), 0
    for direction in range(len(given["weights"]) // each):
        for i, w in enumerate(given["weights"][direction * each :][:each]):
            carried = rows if i or needs[0] else 0
            if i == 1 and cell.recurrent_gates and not of_states:
                carried -= _rows_of_the_first_step(given, direction == 1)
            carried += rows if of_weights[direction * each + i] else 0
            flops += 2 * w.numel() * carried * _products(cell, given["biases"], i)
    return flops


def _products(cell: operators.Sizes, biases: bool, i: int) -> int:
    """Of each row of the input with weight i, in the order of all directions: none with a bias or a vector."""
    i %= cell.weights(biases)
    if i <= bool(cell.recurrent_gates):
        return 1
    return cell.products.count(i - (cell.weights(biases) - cell.matrices))


def _rows_of_the_first_step(given: dict[str, Any], reverse: bool) -> int:
    if given["batch_sizes"] is None:
        return given["input"].size(1)
    return int(given["batch_sizes"][-1 if reverse else 0])
