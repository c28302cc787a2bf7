"""The graph of a user's cell, computed node by node by torch: what whatever runs a graph is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastrnn._cell.graph import Node, reach

SQRT_HALF = math.sqrt(0.5)

OPERATIONS: dict[str, Callable[..., Tensor]] = {
    **{
        name: getattr(torch, name) for name in ("add", "sub", "mul", "div", "neg", "exp", "log", "log1p", "sqrt", "abs")
    },
    **{name: getattr(torch, name) for name in ("sigmoid", "tanh", "relu", "sin", "cos", "maximum", "minimum")},
    **{name: getattr(torch, name) for name in ("lt", "le", "eq", "where")},
    "sign": torch.sign,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "normal_cdf": lambda x: 0.5 * torch.erfc(-x * SQRT_HALF),
    "normal_density": lambda x: torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "and": torch.logical_and,
    "or": torch.logical_or,
    "not": torch.logical_not,
}


def computed(outputs: Iterable[Node], inputs: dict[Node, Tensor]) -> list[Tensor]:
    """The value of each output, where the inputs have these values."""
    like = next(iter(inputs.values()))
    values: dict[Node, Any] = dict(inputs)
    for node in reach(outputs, inputs):
        if node in values:
            continue
        operands = [values[a] for a in node.args]
        if node.op == "constant":
            values[node] = torch.full_like(like, node.value)
        elif node.op == "clamp":
            values[node] = operands[0].clamp(*node.value)
        elif node.op == "power":
            values[node] = operands[0] ** node.value
        else:
            values[node] = OPERATIONS[node.op](*operands)
    return [values[output] for output in outputs]
