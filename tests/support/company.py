"""Whether a layer's numbers are the same to the bit however they are asked for: rows in batches, sequences in chunks.

Layers of one direction for chunks, of any for rows; ``hx`` is h, or the pair (h, c).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def _each(function: Any, hx: Any) -> Any:
    return tuple(map(function, hx)) if isinstance(hx, tuple) else function(hx)


def _results(layer: Any, x: Tensor, hx: Any) -> list[Tensor]:
    with torch.no_grad():
        output, state = layer(x, hx)
    return [output, *(state if isinstance(state, tuple) else (state,))]


def heights_with_other_rows(layer: Any, x: Tensor, hx: Any, runs: Sequence[tuple[int, int]]) -> list[str]:
    """Runs, each (rows, threads), in which the first rows of x (T, B, I) do not get the numbers each gets alone."""

    def rows(first: int, end: int) -> list[Tensor]:
        return _results(layer, x[:, first:end].contiguous(), _each(lambda h: h[:, first:end].contiguous(), hx))

    torch.set_num_threads(1)
    alone = [torch.cat(parts, 1) for parts in zip(*(rows(i, i + 1) for i in range(x.size(1))), strict=True)]
    wrong = []
    for count, threads in runs:
        torch.set_num_threads(threads)
        if not all(torch.equal(a, b[:, :count]) for a, b in zip(rows(0, count), alone, strict=True)):
            wrong.append(f"{count} rows, {threads} threads")
    return wrong


def cuts_with_other_steps(layer: Any, x: Tensor, hx: Any, runs: Sequence[tuple[tuple[int, ...], int]]) -> list[str]:
    """Runs, each (lengths of chunks, threads), in which x (T, B, I) in chunks does not get the numbers of the whole."""
    torch.set_num_threads(1)
    whole = _results(layer, x, hx)
    wrong = []
    for lengths, threads in runs:
        torch.set_num_threads(threads)
        outputs, state = [], hx
        for chunk in x.split(lengths):
            output, *states = _results(layer, chunk, state)
            outputs.append(output)
            state = tuple(states) if isinstance(hx, tuple) else states[0]
        if not all(torch.equal(a, b) for a, b in zip([torch.cat(outputs), *states], whole, strict=True)):
            wrong.append(f"chunks of {lengths}, {threads} threads")
    return wrong
