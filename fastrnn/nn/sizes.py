"""Layers of different hidden sizes in one module: ``LSTM(400, [1150, 1150, 400], num_layers=3)``, as in AWD-LSTM.

torch.nn has one size for all. Its constructor makes the parameters of that many layers; here they get their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Parameter


def checked_sizes(hidden_size: Any, num_layers: int) -> tuple[int, ...] | None:
    """H of each layer, or None where one number is for all of them, which torch.nn checks.

    Raises:
        TypeError: a size is no int.
        ValueError: a size is less than 1, or there is not one for each layer.
    """
    if not isinstance(hidden_size, list | tuple):
        return None
    for size in hidden_size:
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"Expected hidden_size to be an int or a list of ints, got a {type(size).__name__} in it")
        if size < 1:
            raise ValueError(f"Expected hidden sizes of at least 1, got {size}")
    if len(hidden_size) != num_layers:
        raise ValueError(
            f"Expected a hidden size for each of {num_layers} layer(s), got {len(hidden_size)}: {list(hidden_size)}; "
            f"with num_layers={len(hidden_size)} they fit"
        )
    return tuple(hidden_size)


def resize(layer: Any, sizes: Sequence[int]) -> None:
    """Give each layer of a module that was made with ``sizes[0]`` for all its own size, with torch's initial values.

    Raises:
        ValueError: the module has projections.
    """
    if layer.proj_size:
        raise ValueError(f"Expected proj_size=0 with a hidden size for each layer, got proj_size={layer.proj_size}")
    directions, inputs = 2 if layer.bidirectional else 1, layer.input_size
    gates = layer.weight_ih_l0.size(0) // sizes[0]
    for number, size in enumerate(sizes):
        for names in layer._all_weights[number * directions : (number + 1) * directions]:
            for name, columns in zip(names, ((inputs,), (size,), (), ()), strict=False):
                setattr(layer, name, Parameter(getattr(layer, name).new_empty(gates * size, *columns)))
        inputs = size * directions
    layer.hidden_size = tuple(sizes)
    layer._init_flat_weights()
    layer.reset_parameters()


@torch.no_grad()
def reset(layer: Any) -> None:
    """All parameters from U(-1/sqrt(H), 1/sqrt(H)), with the H of their own layer."""
    directions = 2 if layer.bidirectional else 1
    for number, names in enumerate(layer._all_weights):
        bound = 1 / math.sqrt(layer.hidden_size[number // directions])
        for name in names:
            getattr(layer, name).uniform_(-bound, bound)
