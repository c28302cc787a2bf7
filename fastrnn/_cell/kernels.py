"""A layer of a user's cell on the CPU's kernels: the loop over time in C++, its step by the interpreter.

The derivative of the backward pass goes through the eager loop, by autograd.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn._cell import eager
from fastrnn._cell.declaration import Declaration
from fastrnn._cell.programs import Programs, programs
from fastrnn._core.extension import _C


class Kernel:
    """The kernel of a cell, made when it is first run."""

    def __init__(self, cell: Declaration) -> None:
        self.cell = cell
        self.input_slots = [cell.gates.index(name) for name in cell.input_gates]

    @cached_property
    def programs(self) -> Programs:
        return programs(self.cell)

    @cached_property
    def compiled(self) -> Any:
        cell, made = self.cell, self.programs
        stored = [list(cell.states).index(name) for name in made.saving.states]
        return _C.CellKernel(
            _C.Program(*made.inference),
            _C.Program(*made.forward),
            _C.Program(*made.backward),
            recurrent_gates=len(cell.recurrent_gates),
            input_slots=self.input_slots,
            gates=len(cell.gates),
            states=len(cell.states),
            vectors=len(cell.vectors),
            per_step=len(cell.per_step),
            saves=len(made.saving.saved),
            reads_h=made.saving.reads_h,
            reads_y=made.saving.reads_y,
            stored=stored,
        )


class Rows(NamedTuple):
    """Where the rows of a sequence lie among N, and how many there are at each time."""

    first: Tensor  # int64 (T,)
    active: Tensor  # int64 (T,), never rising
    batch: int
    ragged: bool  # not all of N belong to a step


def serve(input: Tensor, tensors: Sequence[Tensor | None]) -> bool:
    """Whether the kernels run a call: plain tensors on the CPU in float32 or float64, outside of tracers."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if not input.is_cpu or input.dtype not in (torch.float32, torch.float64):
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None or torch._C._len_torch_dispatch_stack():
        return False
    if torch._C._len_torch_function_stack() or torch.autograd.forward_ad._current_level >= 0:
        return False
    return all(t is None or (type(t) in (Tensor, torch.nn.Parameter) and t.layout == torch.strided) for t in tensors)


def layer(
    kernel: Kernel,
    given: eager.Steps,
    initial: Sequence[Tensor | None],
    weights: Sequence[eager.Weights],
    every_state: bool,
) -> tuple[list[Tensor | None], list[Tensor]]:
    """As :func:`fastrnn._cell.eager.layer`; without ``every_state`` h alone after every step, and None of others."""
    cell, order = kernel.cell, None
    if given.lengths is not None:
        order = torch.argsort(given.lengths, descending=True, stable=True)
        given, initial = _in_order(given, initial, order)
    rows = _rows(given)
    keep = [k == 0 or every_state for k in range(len(cell.states))]
    found = [
        _direction(kernel, given, rows, [s if s is None else s[d] for s in initial], w, d == 1, keep)
        for d, w in enumerate(weights)
    ]
    every: list[Tensor | None] = []
    for k in range(len(cell.states)):
        of_directions = [of[0][k] for of in found]
        joined = None if not keep[k] else torch.cat(of_directions, -1) if len(found) > 1 else of_directions[0]
        if joined is not None and given.batch_sizes is None:
            joined = joined.unflatten(0, (len(rows.first), rows.batch))
        if joined is not None and order is not None:
            joined = joined.index_select(1, torch.argsort(order))
        every.append(joined)
    last = [torch.stack([of[1][k] for of in found]) for k in range(len(cell.states))]
    if order is not None:
        last = [state.index_select(1, torch.argsort(order)) for state in last]
    return every, last


def _in_order(given: eager.Steps, initial: Sequence[Tensor | None], order: Tensor) -> Any:
    """The rows with the longest first. What is beyond their ends is not read."""
    lengths: Any = given.lengths
    resets = None if given.resets is None else given.resets.index_select(1, order)
    numbers = tuple(each.index_select(1, order) for each in given.per_step)
    states = [state if state is None else state.index_select(1, order) for state in initial]
    return eager.Steps(given.input.index_select(1, order), numbers, None, lengths[order], resets), states


def _rows(given: eager.Steps) -> Rows:
    if given.batch_sizes is not None:
        sizes = given.batch_sizes
        return Rows(sizes.cumsum(0) - sizes, sizes.contiguous(), int(sizes[0]), False)
    times, batch = given.input.shape[:2]
    first = torch.arange(times) * batch
    if given.lengths is None:
        return Rows(first, torch.full((times,), batch), batch, False)
    active = (given.lengths.unsqueeze(0) > torch.arange(times).unsqueeze(1)).sum(1)
    return Rows(first, active, batch, True)


def _direction(
    kernel: Kernel,
    given: eager.Steps,
    rows: Rows,
    initial: Sequence[Tensor | None],
    w: eager.Weights,
    reverse: bool,
    keep: Sequence[bool],
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """States after every step, (N, H), empty where they are not kept, and the last ones, (B, H)."""
    tensors = [given.input, w.w_ih, w.b_ih, w.w_hh, w.b_hh, *w.vectors, *given.per_step, *initial]
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    call = _Call(kernel, rows, given, reverse, tuple(keep))
    results = _Loop.apply(call, *tensors) if training else call.forward(tensors, training=False)[0]
    states = len(kernel.cell.states)
    return results[:states], results[states:]


class _Call(NamedTuple):
    """What a call of the loop has beside its differentiable operands."""

    kernel: Kernel
    rows: Rows
    given: eager.Steps
    reverse: bool
    keep: tuple[bool, ...]

    def operands(self, tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
        """As csrc/torch/user_cells.cpp takes them."""
        input, w, numbers, initial = split(self.kernel.cell, tensors)
        resets = self.given.resets
        hidden = w.w_ih.size(0) // len(self.kernel.cell.input_gates)
        return (
            self.reverse,
            self.rows.batch,
            self.rows.first,
            self.rows.active,
            None if resets is None else resets.reshape(-1).contiguous(),
            input.reshape(-1, input.size(-1)).contiguous(),
            *(each if each is None else each.contiguous() for each in (w.w_ih, w.b_ih, w.w_hh, w.b_hh)),
            [v.contiguous() for v in w.vectors],
            [n.reshape(-1).contiguous() for n in numbers],
            [input.new_full((hidden,), value) for value in self.kernel.cell.states.values()],
            [state if state is None else state.contiguous() for state in initial],
        )

    def forward(self, tensors: Sequence[Any], training: bool) -> tuple[tuple[Tensor, ...], Any]:
        """The results of the loop, and what its backward pass needs beside its operands."""
        names, saving = self.kernel.cell.states, self.kernel.programs.saving
        keep = [kept or (training and name in saving.states) for kept, name in zip(self.keep, names, strict=True)]
        last, every, saved = self.kernel.compiled.forward(self.operands(tensors), training, keep, self.rows.ragged)
        shown = [state if kept else last[0].new_empty(0) for state, kept in zip(every, self.keep, strict=True)]
        return (*shown, *last), (saved, *every)


def split(cell: Declaration, tensors: Sequence[Any]) -> tuple[Tensor, eager.Weights, Any, Any]:
    """Input, weights, numbers per step and initial states, from the differentiable operands of the loop."""
    input, w_ih, b_ih, w_hh, b_hh, *others = tensors
    v, n = len(cell.vectors), len(cell.vectors) + len(cell.per_step)
    return input, eager.Weights(w_ih, w_hh, b_ih, b_hh, tuple(others[:v])), others[v:n], others[n:]


class _Loop(torch.autograd.Function):
    """:meth:`_Call.forward` with its gradient."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Any) -> Any:
        results, needed = call.forward(tensors, training=True)
        ctx.call, ctx.count = call, len(needed)
        ctx.save_for_backward(*needed, *tensors)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        call, (saved, *every), tensors = ctx.call, ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        if torch.is_grad_enabled():  # create_graph=True
            return None, *_differentiable(call, tensors, gradients)
        d_every = [
            None if d is None or not kept else d.contiguous()
            for d, kept in zip(gradients[: len(every)], call.keep, strict=True)
        ]
        d_last = [None if d is None else d.contiguous() for d in gradients[len(every) :]]
        cell, needed = call.kernel.cell, ctx.needs_input_grad[1:]
        first = 5 + len(cell.vectors)
        found, d_numbers, d_initial = call.kernel.compiled.backward(
            call.operands(tensors), every, saved, d_every, d_last, list(needed[:first]), call.rows.ragged
        )
        if found[0] is not None:
            found[0] = found[0].view(tensors[0].shape)
        of_numbers = [d_numbers[:, k].reshape(tensors[first + k].shape) for k in range(len(cell.per_step))]
        of_states = [d if need else None for d, need in zip(d_initial, needed[first + len(of_numbers) :], strict=True)]
        return None, *found, *of_numbers, *of_states


def _differentiable(call: _Call, tensors: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
    """The same gradients by autograd through the eager loop, so that they can be differentiated again."""
    leaves = [t if t is None or not t.requires_grad else t.view_as(t) for t in tensors]
    input, w, numbers, initial = split(call.kernel.cell, leaves)
    given = call.given._replace(input=input, per_step=tuple(numbers))
    every, last = eager.direction(call.kernel.cell, given, initial, w, call.reverse)
    every = [state if call.given.batch_sizes is not None else state.flatten(0, 1) for state in every]
    pairs = [(r, d) for r, d in zip((*every, *last), gradients, strict=True) if d is not None and r.requires_grad]
    wanted = [t for t in leaves if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad([r for r, _ in pairs], wanted, [d for _, d in pairs], create_graph=True, allow_unused=True)
    )
    return [None if t is None or not t.requires_grad else next(found) for t in leaves]
