"""Lengths and a learned initial state for operators that have neither: torch's own, and the kernels of the GPU.

A learned state is given as any other. Of rows with lengths, those that have steps are sorted and packed, and what comes
out is laid out as the input was: by index, so it is differentiable, on any device.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn._core.call import Call, Results
from fastrnn._core.tracing import exports_to_onnx


def with_states_given(call: Call) -> Call:
    """The call with its learned initial state as h_0 and c_0, where no row needs it later."""
    if not call.learned_state or call.resets is not None:
        return call
    names = call.weight_names()
    learned = [w for i, w in enumerate(call.weights) if names[i % len(names)] in ("h_0", "c_0")]
    weights = [w for i, w in enumerate(call.weights) if names[i % len(names)] not in ("h_0", "c_0")]
    h0, c0 = call.h0, call.c0
    if h0 is None:
        batch: Any = call.input.size(call.batch_axis()) if call.batch_sizes is None else call.batch_sizes[0]
        each = 2 if call.cell.carries_c else 1
        h0, c0 = (
            torch.stack(learned[which::each]).unsqueeze(1).expand(-1, batch, -1) if which < each else None
            for which in range(2)
        )
    return call.with_tensors(call.input, h0, c0, weights)._replace(learned_state=False)


def possible(call: Call) -> bool:
    """Whether lengths can be packed: they are all that the call asks for, their numbers are known, and one is not 0."""
    if call.lengths is None or call.resets is not None or call.every_state or call.is_regularized():
        return False
    traced = torch.compiler.is_compiling() or exports_to_onnx() or torch._C._are_functorch_transforms_active()
    return not traced and not call.lengths.is_meta and bool(call.lengths.any())


class Rows(NamedTuple):
    """Where the rows of a padded call are in a packed one."""

    rows: Tensor  # of the batch, that have steps, longest first
    batch_sizes: Tensor
    places: Tensor  # of each packed row among the T B of time-first input

    @classmethod
    def of(cls, call: Call) -> Rows:
        lengths: Tensor = call.lengths  # type: ignore[assignment]
        sorted_lengths, order = lengths.sort(descending=True, stable=True)
        sorted_lengths = sorted_lengths[sorted_lengths > 0]
        rows = order[: sorted_lengths.numel()]
        alive = torch.arange(int(lengths.max()))[:, None] < sorted_lengths
        places = (torch.arange(alive.size(0))[:, None] * lengths.numel() + rows)[alive]
        device = call.input.device
        return cls(rows.to(device), alive.sum(1), places.to(device))


def packed(call: Call) -> tuple[Call, Rows]:
    """The same call of packed input. At least one row has steps."""
    rows = Rows.of(call)
    input = call.input.transpose(0, 1) if call.batch_first else call.input
    h0, c0 = (None if s is None else s.index_select(1, rows.rows) for s in (call.h0, call.c0))
    data = input.flatten(0, 1).index_select(0, rows.places)
    call = call.with_tensors(data, h0, c0, call.weights)
    return call._replace(batch_sizes=rows.batch_sizes, lengths=None, batch_first=False), rows


def padded(results: Results, rows: Rows, call: Call) -> Results:
    """What the packed call found, as the padded one returns it: zeros beyond the ends, where a row has no step its
    initial state."""
    output, h_n, c_n = results
    steps, batch = call.input.size(1 - call.batch_axis()), call.input.size(call.batch_axis())
    whole = output.new_zeros(steps * batch, output.size(1)).index_copy(0, rows.places, output)
    output = whole.unflatten(0, (steps, batch))

    def every_row(found: Tensor, initial: Tensor | None) -> Tensor:
        if found.dim() == 1:  # there is no c
            return found
        before = found.new_zeros(found.size(0), batch, found.size(2)) if initial is None else initial.to(found.dtype)
        return before.index_copy(1, rows.rows, found)

    h_n, c_n = every_row(h_n, call.h0), every_row(c_n, call.c0)
    return output.transpose(0, 1) if call.batch_first else output, h_n, c_n
