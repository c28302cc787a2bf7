"""A layer of a user's cell in plain torch: its step, as it is written, in a loop over time.

The product of the input is made for all steps at once, before the loop. This is the reference for whatever else runs
the cell, in any dtype, on any device, and can be differentiated any number of times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from fastrnn._cell.declaration import Declaration
from fastrnn.reference import block_diagonal

States = tuple[Tensor, ...]  # in the order of the declaration, h first


class Weights(NamedTuple):
    """Those of one direction of one layer. G, R: gates of the input and of the state."""

    w_ih: Tensor  # (G H, I)
    w_hh: Tensor | None  # (R H, H / n) of n heads, None where there is no such gate
    b_ih: Tensor | None
    b_hh: Tensor | None
    vectors: tuple[Tensor, ...]  # (H) each
    matrices: tuple[Tensor, ...] = ()  # (H, H / n) each

    def tensors(self) -> tuple[Tensor | None, ...]:
        return *self[:4], *self.vectors, *self.matrices

    def to(self, dtype: torch.dtype) -> Weights:
        if all(w is None or w.dtype == dtype for w in self.tensors()):  # to() of each is a tenth of a short call
            return self
        w_ih, w_hh, b_ih, b_hh = (None if w is None else w.to(dtype) for w in self[:4])
        vectors, matrices = (tuple(w.to(dtype) for w in of) for of in (self.vectors, self.matrices))
        return Weights(w_ih, w_hh, b_ih, b_hh, vectors, matrices)  # type: ignore[arg-type]


class Steps(NamedTuple):
    """The operands of a layer beside its weights, time first. T steps, B rows of the batch."""

    input: Tensor  # (T, B, I), or packed (sum of batch_sizes, I)
    per_step: tuple[Tensor, ...]  # (T, B, 1) each, or packed (sum of batch_sizes, 1)
    batch_sizes: Tensor | None = None  # int64 (T,): rows that are still active at each step, never rising
    lengths: Tensor | None = None  # (B,): steps of each row of padded input
    resets: Tensor | None = None  # bool (T, B): rows that begin anew before a step


def layer(
    cell: Declaration, given: Steps, initial: Sequence[Tensor | None], weights: Sequence[Weights]
) -> tuple[list[Tensor], list[Tensor]]:
    """One layer in all its directions.

    Args:
        initial: of each state (D, B, H), or None for what the cell declares.
        weights: of each of the D directions; the second runs backwards in time.

    Returns:
        of each state its value after every step, (T, B, D H) or packed, zeros beyond the ends of rows; and the last of
        every row, (D, B, H).
    """
    every, last = [], []
    for d, w in enumerate(weights):
        states = [None if state is None else state[d] for state in initial]
        after_steps, final = direction(cell, given, states, w, reverse=d == 1)
        every.append(after_steps)
        last.append(final)
    return [torch.cat(of, -1) for of in zip(*every, strict=True)], [torch.stack(of) for of in zip(*last, strict=True)]


def direction(
    cell: Declaration, given: Steps, initial: Sequence[Tensor | None], w: Weights, reverse: bool
) -> tuple[list[Tensor], States]:
    """The loop over time of one direction: of each state its values after every step, and the last ones.

    A step shorter than the batch moves the first rows on and leaves the others' state alone: forwards rows drop out as
    their sequences end and keep their last state; backwards they come in, with their initial state. Both are the same
    line. In padded input the rows that have ended are computed, and not used.
    """
    x, numbers = given.input, given.per_step
    alive = None
    if given.lengths is not None:
        times = torch.arange(x.size(0), device=x.device)
        alive = (times.unsqueeze(1) < given.lengths.to(x.device)).unsqueeze(2)
        x = torch.where(alive, x, 0)  # whatever is there, infinity too
        numbers = tuple(torch.where(alive, each, 1) for each in numbers)  # a step may divide by it
    sizes = None if given.batch_sizes is None else given.batch_sizes.tolist()
    gates = linear(x, w.w_ih, w.b_ih)
    products = _of_steps(gates, sizes)
    numbers_of = [_of_steps(each, sizes) for each in numbers]
    batch, hidden = products[0].size(0), gates.size(-1) // len(cell.input_gates)
    if w.w_hh is not None:
        w = w._replace(w_hh=block_diagonal(w.w_hh, hidden // w.w_hh.size(1), len(cell.recurrent_gates)))
    begin = [gates.new_full((), value) for value in cell.states.values()]
    states = tuple(
        first.expand(batch, hidden) if state is None else state for state, first in zip(initial, begin, strict=True)
    )
    shared: dict[str, Any] = dict(zip(cell.vectors, w.vectors, strict=True))
    for name, matrix in zip(cell.matrices, w.matrices, strict=True):
        shared[name] = partial(linear, weight=block_diagonal(matrix, hidden // matrix.size(1), 1))
    after: list[States] = [()] * len(products)
    for t in reversed(range(len(products))) if reverse else range(len(products)):
        n = products[t].size(0)
        before = tuple(state[:n] for state in states)
        anew = _begin_anew(given, t, reverse, alive)
        if anew is not None:
            before = tuple(torch.where(anew, first, state) for first, state in zip(begin, before, strict=True))
        per_step = {name: of[t] for name, of in zip(cell.per_step, numbers_of, strict=True)}
        new = _step(cell, products[t], before, w, per_step | shared)
        if alive is None:
            states = tuple(
                torch.cat([state, old[n:]]) if n < batch else state for state, old in zip(new, states, strict=True)
            )
        else:
            states = tuple(torch.where(alive[t], state, old) for state, old in zip(new, states, strict=True))
            new = tuple(torch.where(alive[t], state, 0) for state in new)
        after[t] = new
    join: Any = torch.stack if sizes is None else torch.cat
    return [join(of) for of in zip(*after, strict=True)], states


def _step(cell: Declaration, product: Tensor, before: States, w: Weights, others: dict[str, Any]) -> States:
    """One step: ``product`` (B, G H) is W_ih x + b_ih, ``others`` vectors, matrices and numbers per step."""
    gates = dict(zip(cell.input_gates, product.chunk(len(cell.input_gates), 1), strict=True))
    if w.w_hh is not None:
        recurrent = linear(before[0], w.w_hh, w.b_hh).chunk(len(cell.recurrent_gates), 1)
        for name, part in zip(cell.recurrent_gates, recurrent, strict=True):
            gates[name] = gates[name] + part if name in gates else part
    values = gates | dict(zip(cell.states, before, strict=True)) | others
    new = cell.step(**{name: values[name] for name in cell.taken})
    new = tuple(new) if isinstance(new, (tuple, list)) else (new,)
    # A state made of vectors alone has the shape of one row.
    return tuple(state.expand_as(before[0]) for state in new)


def _of_steps(rows: Tensor, sizes: list[int] | None) -> Sequence[Tensor]:
    return rows.unbind() if sizes is None else rows.split(sizes)


def _begin_anew(given: Steps, t: int, reverse: bool, alive: Tensor | None) -> Tensor | None:
    """Which rows are split between time t and the one that the loop comes from: not where they begin or end. (B, 1)"""
    if given.resets is None or (reverse and t + 1 == len(given.resets)):
        return None
    if not reverse:
        return given.resets[t].unsqueeze(1)
    split = given.resets[t + 1].unsqueeze(1)
    return split if alive is None else split & alive[t + 1]
