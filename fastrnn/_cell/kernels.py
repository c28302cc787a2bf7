"""A layer of a user's cell by the operators: the loop over time in C++, its step by the interpreter."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastrnn._cell import eager, operators
from fastrnn._cell import flops as _flops  # noqa: F401, which registers the formulas
from fastrnn._cell.declaration import Declaration
from fastrnn._cell.programs import programs
from fastrnn._cell.text import beyond, text
from fastrnn._core.tracing import exports_to_onnx

_PLAIN = (Tensor, torch.nn.Parameter)


class Kernel:
    """A cell and its text, which the operators take. None: a cell that is too large for them, which a warning says."""

    def __init__(self, cell: Declaration, name: str) -> None:
        self.cell = cell
        self.program: str | None = None
        self.made = made = programs(cell)
        too_much = beyond(cell, made)
        if too_much:
            warnings.warn(
                f"{name} has {too_much} in fastrnn's kernels; its layers run the step in a loop in Python, several "
                "times slower. A smaller step, or two layers in its place, would run on the kernels",
                stacklevel=3,
            )
            return
        self.program = text(cell, made)
        operators.declare(self.program, self)

    def prepare(self, dtype: torch.dtype) -> None:
        """Called before a call on the CPU in this dtype, where it is not traced."""


def serve(kernel: Kernel, input: Tensor, tensors: Sequence[Tensor | None]) -> bool:
    """Whether the operators run a call: in float32 or float64 on the CPU, or on meta for shapes alone.

    Not in a transform or in forward mode, of which they have no derivative, nor for ONNX, which has no such operator.
    """
    if kernel.program is None or not (input.is_cpu or input.is_meta):
        return False
    if input.dtype not in (torch.float32, torch.float64):
        return False
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or exports_to_onnx():
        return False
    # A subclass that knows no such operator knows those of the eager loop. Tracers' own know both.
    return torch.compiler.is_compiling() or all(t is None or type(t) in _PLAIN for t in (input, *tensors))


def layer(
    kernel: Kernel,
    given: eager.Steps,
    initial: Sequence[Tensor | None],
    weights: Sequence[eager.Weights],
    every_state: bool,
) -> tuple[list[Tensor | None], list[Tensor]]:
    """As :func:`fastrnn._cell.eager.layer`; without ``every_state`` h alone after every step, and None of others."""
    if given.input.is_cpu and not torch.compiler.is_compiling():
        kernel.prepare(given.input.dtype)
    every, last, _ = operators.forward(
        kernel.program,
        given.input,
        given.batch_sizes,
        given.lengths,
        given.resets,
        given.per_step or None,
        [state for state in initial if state is not None] or None,
        [w for of in weights for w in of.tensors() if w is not None],
        weights[0].b_ih is not None,
        every_state,
        False,
    )
    return [state if k == 0 or every_state else None for k, state in enumerate(every)], last
