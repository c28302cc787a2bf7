"""Lengths and a learned initial state for operators that have neither: torch's own. The kernels of the GPU have the
latter, and all other options, but lengths only of packed rows.

A learned state is given as any other. Of rows with lengths, those that have steps are sorted and packed, and what comes
out is laid out as the input was: by index, so it is differentiable, on any device.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn._core.call import Call, States
from fastrnn._core.stack import Stacked
from fastrnn._core.tracing import exports_to_onnx


def with_states_given(call: Call) -> Call:
    """The call with its learned initial state as h_0 and c_0, where no row needs it later."""
    if not call.learned_state or call.resets is not None:
        return call
    names = call.weight_names()
    weights = [w for i, w in enumerate(call.weights) if names[i % len(names)] not in ("h_0", "c_0")]
    return call.with_tensors(call.input, *_initial_states(call), weights)._replace(learned_state=False)


def _initial_states(call: Call) -> tuple[Tensor | None, Tensor | None]:
    """h_0 and c_0 as they are given, or learned. None for zeros."""
    if call.h0 is not None or not call.learned_state:
        return call.h0, call.c0
    names = call.weight_names()
    batch: Any = call.input.size(call.batch_axis()) if call.batch_sizes is None else call.batch_sizes[0]

    def of_all_rows(state: str) -> Tensor | None:
        learned = [w for i, w in enumerate(call.weights) if names[i % len(names)] == state]
        return torch.stack(learned).unsqueeze(1).expand(-1, batch, -1) if learned else None

    return of_all_rows("h_0"), of_all_rows("c_0")


def possible(call: Call) -> bool:
    """Whether lengths can be packed: their numbers are known, and one is not 0."""
    if call.lengths is None:
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
        steps = torch.arange(int(lengths.max()), device=lengths.device)[:, None]
        alive = steps < sorted_lengths
        places = (steps * lengths.numel() + rows)[alive]
        device = call.input.device
        return cls(rows.to(device), alive.sum(1), places.to(device))


def packed(call: Call) -> tuple[Call, Rows]:
    """The same call of packed input. At least one row has steps."""
    rows = Rows.of(call)

    def data(t: Tensor) -> Tensor:
        return (t.transpose(0, 1) if call.batch_first else t).flatten(0, 1).index_select(0, rows.places)

    h0, c0 = (None if s is None else s.index_select(1, rows.rows) for s in (call.h0, call.c0))
    resets = None if call.resets is None else data(call.resets)
    packed_call = call.with_tensors(data(call.input), h0, c0, call.weights)
    return packed_call._replace(batch_sizes=rows.batch_sizes, lengths=None, resets=resets, batch_first=False), rows


def padded(results: Stacked, rows: Rows, call: Call) -> Stacked:
    """What the packed call found, as the padded one returns it: zeros beyond the ends, where a row has no step its
    initial state."""
    output, h_n, c_n, states = results
    steps, batch = call.input.size(1 - call.batch_axis()), call.input.size(call.batch_axis())

    def every_step(found: Tensor) -> Tensor:
        """Of (…, rows, features)."""
        whole = found.new_zeros(*found.shape[:-2], steps * batch, found.size(-1))
        whole = whole.index_copy(-2, rows.places, found).unflatten(-2, (steps, batch))
        return whole.transpose(-3, -2) if call.batch_first else whole

    def every_row(found: Tensor, initial: Tensor | None) -> Tensor:
        if found.dim() == 1:  # there is no c
            return found
        before = found.new_zeros(found.size(0), batch, found.size(2)) if initial is None else initial.to(found.dtype)
        return before.index_copy(1, rows.rows, found)

    h0, c0 = _initial_states(call)
    h_n, c_n = every_row(h_n, h0), every_row(c_n, c0)
    if states is None:
        return every_step(output), h_n, c_n, None
    states = States(every_step(states.h), None if states.c is None else every_step(states.c))
    return states.h[-1], h_n, c_n, states
