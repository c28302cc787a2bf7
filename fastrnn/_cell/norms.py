"""Layer normalization for steps, of means over the units: the same text on tensors and in the trace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch


def layer_norm(*rows: Any, eps: float = 1e-5) -> Any:
    """(x - mean) / sqrt(variance + eps) over the units of a row, or over those of several rows together.

    For steps: ``i, f, g, o = layer_norm(i, f, g, o)`` normalizes four gates as one vector of 4 H numbers, as J. L. Ba
    et al., 2016, arXiv:1607.06450, and ``c = layer_norm(c)`` a state by itself. Gains and biases are a cell's vectors.

    Args:
        rows: (..., H) each.
        eps: added to the variance, as by torch.nn.LayerNorm.

    Returns:
        the row, or a tuple of the rows, normalized.

    Raises:
        TypeError: no row.
    """
    if not rows:
        raise TypeError("layer_norm normalizes one row or several, got none; write layer_norm(x)")
    center = _mean(rows)
    centered = [x - center for x in rows]
    scale = 1 / torch.sqrt(_mean([x * x for x in centered]) + eps)
    normalized = tuple(x * scale for x in centered)
    return normalized if len(rows) > 1 else normalized[0]


def _mean(rows: Sequence[Any]) -> Any:
    return reduce(add, [torch.mean(x, -1, keepdim=True) for x in rows]) / len(rows)
