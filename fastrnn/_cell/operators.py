"""The operators of users' cells for torch's tracers, transforms and second derivatives.

``torch.ops.fastrnn.cell_forward`` and ``cell_backward`` are declared, and tied together, in
csrc/torch/user_cell_operators.cpp; what they take and return is said in csrc/torch/user_cell_call.h. ``program`` is the
text of a cell (fastrnn/_cell/text.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from fastrnn._cell import eager
from fastrnn._cell.declaration import Declaration
from fastrnn._core.batching import under_autograds_vmap
from fastrnn._core.checks import check_numbers
from fastrnn._core.extension import _C
from fastrnn._core.operators import by_name

forward = torch.ops.fastrnn.cell_forward.default
backward = torch.ops.fastrnn.cell_backward.default


class Sizes(NamedTuple):
    """What the text of a cell says of its sizes."""

    input_gates: int
    recurrent_gates: int
    vectors: int
    matrices: int
    products: Sequence[int]  # of which matrix each of a step is
    states: int
    saves: int
    stored: Sequence[int]  # states whose values after every step the gradient reads

    def weights(self, biases: bool) -> int:
        """How many there are of a direction: w_ih, w_hh, b_ih, b_hh where there are such, vectors, matrices."""
        return (1 + biases) * (2 if self.recurrent_gates else 1) + self.vectors + self.matrices

    def parts(self, weights: Sequence[Any], biases: bool) -> list[eager.Weights]:
        """The weights of each direction by their names."""
        each, found = self.weights(biases), []
        for first in range(0, len(weights), each):
            of = list(weights[first : first + each])
            recurrent = bool(self.recurrent_gates)
            w_ih, w_hh = of.pop(0), of.pop(0) if recurrent else None
            b_ih = of.pop(0) if biases else None
            b_hh = of.pop(0) if biases and recurrent else None
            vectors, matrices = tuple(of[: self.vectors]), tuple(of[self.vectors :])
            found.append(eager.Weights(w_ih, w_hh, b_ih, b_hh, vectors, matrices))
        return found


@lru_cache(maxsize=256)
def sizes(program: str) -> Sizes:
    return Sizes(**_C.user_cell(program))


@torch.library.register_fake("fastrnn::cell_forward")
def _forward_shapes(*arguments: Any) -> tuple[list[Tensor], list[Tensor], Tensor]:
    given = by_name(forward, arguments)
    _check_devices(given)
    cell, input = sizes(given["program"]), given["input"]
    directions = len(given["weights"]) // cell.weights(given["biases"])
    hidden = given["weights"][0].size(0) // cell.input_gates
    if given["batch_sizes"] is None:
        batch, rows = input.size(1), input.size(0) * input.size(1)
    else:
        # The longest batch is a number inside a tensor: known when there is data, else a size of its own.
        batch = given["states"][0].size(1) if given["states"] else torch.library.get_ctx().new_dynamic_size()
        rows = input.size(0)
    kept = {0, *(range(cell.states) if given["every_state"] else ()), *(cell.stored if given["save"] else ())}
    every = [
        input.new_empty(*input.shape[:-1], directions * hidden) if k in kept else input.new_empty(0)
        for k in range(cell.states)
    ]
    last = [input.new_empty(directions, batch, hidden) for _ in range(cell.states)]
    saved = input.new_empty(directions, rows, cell.saves * hidden) if given["save"] else input.new_empty(0)
    return every, last, saved


@torch.library.register_fake("fastrnn::cell_backward")
def _backward_shapes(*arguments: Any) -> list[Tensor]:
    given = by_name(backward, arguments)
    _check_devices(given)
    return [
        t.new_empty(t.shape) if need else given["input"].new_empty(0)
        for t, need in zip(_differentiable(given), given["needs"], strict=True)
    ]


def _check_devices(given: dict[str, Any]) -> None:
    """Check that no operand is elsewhere than the input. Lengths and batch_sizes may be on the CPU whatever that is."""
    check_numbers(given["input"], given["batch_sizes"], given["lengths"])
    for name, value in given.items():
        for t in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(t, Tensor) and t.device != given["input"].device and name not in ("batch_sizes", "lengths"):
                raise RuntimeError(
                    f"Expected {name} on the input's device {given['input'].device}, got {t.device}; move it there"
                )


def _differentiable(given: dict[str, Any]) -> list[Tensor]:
    """The operands that can have a gradient, in the order of the operator's results."""
    return [given["input"], *_listed(given["per_step"]), *_listed(given["states"]), *given["weights"]]


def _listed(tensors: Sequence[Tensor] | None) -> Sequence[Tensor]:
    return tensors or ()


# The cells whose text this process has made, by which their second derivatives are found.
_declared: dict[str, WeakSet[Any]] = {}


def declare(program: str, cell: Any) -> None:
    """Note the cell of a text, for as long as it lives: anything with a ``cell`` that is a Declaration."""
    _declared.setdefault(program, WeakSet()).add(cell)


def _declaration(program: str) -> Declaration:
    for kernel in _declared.get(program, ()):
        return kernel.cell
    raise RuntimeError(
        "The second derivative of a user's cell runs its step, whose class this process has not got. Import the module "
        "that defines it, and call fastrnn.layer of it"
    )


_TENSORS = ("d_every", "d_last", "input", "per_step", "states", "weights", "batch_sizes", "lengths", "resets")


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    given = by_name(backward, inputs)
    ctx.given = {name: value for name, value in given.items() if name not in (*_TENSORS, "every", "saved")}
    ctx.counts = [len(given[name]) if isinstance(given[name], (list, tuple)) else None for name in _TENSORS]
    ctx.states, ctx.arguments = len(given["every"]), len(inputs)
    tensors: list[Any] = []
    for name in _TENSORS:
        tensors += given[name] if isinstance(given[name], (list, tuple)) else [given[name]]
    ctx.save_for_backward(*tensors)


def _second_derivative(ctx: Any, grads_of_grads: Sequence[Tensor | None]) -> tuple:
    tensors = list(ctx.saved_tensors)
    given = dict(ctx.given)
    for name, count in zip(_TENSORS, ctx.counts, strict=True):
        given[name] = tensors.pop(0) if count is None else [tensors.pop(0) for _ in range(count)]
    d_incoming, d_operands = second_derivative(given, grads_of_grads)
    first_state = 1 + len(_listed(given["per_step"]))
    first_weight = first_state + len(_listed(given["states"]))
    gradients = {
        "d_every": d_incoming[: ctx.states],
        "d_last": d_incoming[ctx.states :],
        "input": d_operands[0],
        "per_step": None if given["per_step"] is None else d_operands[1:first_state],
        "states": None if given["states"] is None else d_operands[first_state:first_weight],
        "weights": d_operands[first_weight:],
        "every": [None] * ctx.states,
    }
    arguments = backward._schema.arguments[: ctx.arguments]
    return tuple(gradients.get(argument.name) for argument in arguments)


def second_derivative(
    given: dict[str, Any], grads_of_grads: Sequence[Tensor | None]
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Differentiate what ``cell_backward`` computes, as a function of the incoming gradients and the operands.

    By autograd through the eager loop. What the kernels saved is a function of the operands too: it counts as constant.

    Returns:
        the gradients of the incoming ones (of all states after every step, of the last ones) and of the operands.
    """
    cell = _declaration(given["program"])
    again = torch.is_grad_enabled()  # whether the second derivatives are to be differentiated in turn
    with torch.enable_grad():
        incoming = [d.view_as(d) if d.requires_grad else d for d in (*given["d_every"], *given["d_last"])]
        wanted = [need or t.requires_grad for need, t in zip(given["needs"], _differentiable(given), strict=True)]
        leaves = [
            t if not want else t.view_as(t) if t.requires_grad else t.detach().requires_grad_()
            for t, want in zip(_differentiable(given), wanted, strict=True)
        ]
        input, *others = leaves
        n = len(_listed(given["per_step"]))
        m = n + len(_listed(given["states"]))
        steps = eager.Steps(input, tuple(others[:n]), given["batch_sizes"], given["lengths"], given["resets"])
        initial: list[Any] = others[n:m] or [None] * len(cell.states)
        weights = sizes(given["program"]).parts(others[m:], given["biases"])
        every, last = eager.layer(cell, steps, initial, weights)
        pairs = [(r, d) for r, d in zip((*every, *last), incoming, strict=True) if d.shape == r.shape]
        first = [(t, gg) for t, need, gg in zip(leaves, given["needs"], grads_of_grads, strict=True) if need]
        found = _grad([r for r, _ in pairs], [t for t, _ in first], [d for _, d in pairs], create_graph=True)
        outputs = [(g, gg) for g, (_, gg) in zip(found, first, strict=True) if g is not None and gg is not None]
        variables = [t for t in (*incoming, *leaves) if t.requires_grad]
        second = iter(_grad([g for g, _ in outputs], variables, [gg for _, gg in outputs], create_graph=again))
    both = [next(second) if t.requires_grad else None for t in (*incoming, *leaves)]
    return both[: len(incoming)], both[len(incoming) :]


def _grad(outputs: list[Any], inputs: list[Any], incoming: list[Any], create_graph: bool) -> Sequence[Tensor | None]:
    pairs = [(o, d) for o, d in zip(outputs, incoming, strict=True) if o.requires_grad]
    if not pairs or not inputs:
        return [None] * len(inputs)
    return torch.autograd.grad(
        [o for o, _ in pairs], inputs, [d for _, d in pairs], create_graph=create_graph, allow_unused=True
    )


torch.library.register_autograd("fastrnn::cell_backward", _second_derivative, setup_context=_setup)


def _entry(value: Any, dim: Any, i: int) -> Any:
    """What entry i of vmap has of an argument, whose axes of entries are ``dim``."""
    if isinstance(value, (list, tuple)):
        dims = dim if isinstance(dim, (list, tuple)) else [dim] * len(value)
        return [_entry(v, d, i) for v, d in zip(value, dims, strict=True)]
    return value if dim is None else value.select(dim, i)


def _one_by_one(operator: Any, size: int, in_dims: Sequence, arguments: Sequence) -> list:
    """The results of an operator for each entry of vmap."""
    return [operator(*_entry(list(arguments), list(in_dims), i)) for i in range(size)]


def _forward_under_vmap(info: Any, in_dims: tuple, *arguments: Any) -> tuple:
    found = _one_by_one(forward, info.batch_size, in_dims, arguments)
    every, last = ([torch.stack(of) for of in zip(*[f[part] for f in found], strict=True)] for part in (0, 1))
    return (every, last, torch.stack([f[2] for f in found])), ([0] * len(every), [0] * len(last), 0)


def _backward_under_vmap(size: int, in_dims: Sequence, *arguments: Any) -> tuple[list, list]:
    found = [torch.stack(of) for of in zip(*_one_by_one(backward, size, in_dims, arguments), strict=True)]
    return found, [0] * len(found)


torch.library.register_vmap("fastrnn::cell_forward", _forward_under_vmap)
torch.library.register_vmap(
    "fastrnn::cell_backward",
    lambda info, in_dims, *arguments: _backward_under_vmap(info.batch_size, in_dims, *arguments),
)
_library = torch.library.Library("fastrnn", "IMPL")
_library.impl("cell_backward", under_autograds_vmap(_backward_under_vmap), "Batched")
