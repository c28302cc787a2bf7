"""Floating-point operations of the operators of users' cells, for FlopCounterMode: as fastrnn/_core/flops.py."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from fastrnn._cell import operators
from fastrnn._core.operators import by_name


@register_flop_formula(torch.ops.fastrnn.cell_forward, get_raw=True)
def forward_flops(*arguments: Any, out_val: Any = None) -> int:
    """Every row of the input meets every matrix once."""
    given = by_name(operators.forward, arguments)
    matrices = [w for w in given["weights"] if w.dim() == 2]
    return 2 * given["input"].shape[:-1].numel() * sum(w.numel() for w in matrices)


@register_flop_formula(torch.ops.fastrnn.cell_backward, get_raw=True)
def backward_flops(*arguments: Any, out_val: Any = None) -> int:
    """A product for each gradient that is wanted, and those with w_hh that carry gradients through time.

    The first step passes nothing on, unless the gradient of an initial state is wanted.
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
            if w.dim() != 2:
                continue
            carried = rows - (0 if of_states else _rows_of_the_first_step(given, direction == 1))
            carried = carried if i else rows if needs[0] else 0
            flops += 2 * w.numel() * (carried + (rows if of_weights[direction * each + i] else 0))
    return flops


def _rows_of_the_first_step(given: dict[str, Any], reverse: bool) -> int:
    if given["batch_sizes"] is None:
        return given["input"].size(1)
    return int(given["batch_sizes"][-1 if reverse else 0])
