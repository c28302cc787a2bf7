"""What torch.vmap makes of a layer: V entries at once, in one call where that can be.

Entries that share their weights are V times the batch to a layer, so they are folded into it. Where every entry has
weights of its own, or wants weight gradients of its own, there are V calls.

The rules are registered for the operators. So they also hold where a backward pass that was recorded outside of vmap
meets batched gradients: ``is_grads_batched=True``, ``jacobian(vectorize=True)``, vmap over ``torch.autograd.grad``. In
here the operands are flat: options first, then tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastrnn._core import operators

Dims = Sequence[int | None]  # where each operand has the V entries


def forward(cell: str, options: tuple, input: Tensor, batch_sizes: Tensor | None, *operands: Any) -> tuple:
    """``torch.ops.fastrnn.forward`` with flat operands: input, batch_sizes, h0, c0, weights."""
    h0, c0, *weights = operands
    return operators.forward(cell, input, batch_sizes, h0, c0, weights, *options)


def backward(cell: str, options: tuple, *operands: Any) -> tuple[Tensor, ...]:
    """``torch.ops.fastrnn.backward`` with flat operands: d_output, d_hn, d_cn, output, saved, then as forward."""
    *flags, needs = options
    *incoming, output, saved, input, batch_sizes, h0, c0 = operands[:9]
    arguments = (*incoming, input, batch_sizes, h0, c0, list(operands[9:]), output, saved)
    return tuple(operators.backward(cell, *arguments, *flags, list(needs)))


def forward_rule(call: Callable, size: int, dims: Dims, cell: str, options: tuple, *operands: Any) -> tuple:
    """The results of ``call(cell, options, *operands)`` for all entries, and where these lie in each result."""
    input, batch_sizes, *others = operands
    _check_lengths(dims[1])
    recompute = len(options) == 5 and options[4]  # what is saved then depends on the size of the batch
    if recompute or any(dim is not None for dim in dims[4:]):
        return _one_by_one(call, size, dims, cell, options, *operands)
    batch = _batch_axis(options, batch_sizes)
    fold = _Fold(size)
    states = [fold(state, dim, 1) for state, dim in zip(others[:2], dims[2:4], strict=True)]
    lengths = None if batch_sizes is None else batch_sizes * size
    output, h_n, c_n, saved = call(cell, options, fold(input, dims[0], batch), lengths, *states, *others[2:])
    # An empty result has no entries: c_n of other cells than an LSTM, and `saved` of a call that saves nothing.
    axes = batch, 1, 1 if c_n.dim() > 1 else None, 1 if saved.dim() > 1 else None
    return fold.undo((output, h_n, c_n, saved), axes)


def backward_rule(call: Callable, size: int, dims: Dims, cell: str, options: tuple, *operands: Any) -> tuple:
    """The gradients that ``call(cell, options, *operands)`` returns, likewise."""
    saved, batch_sizes, weights = operands[4], operands[6], operands[9:]
    _check_lengths(dims[6])
    needs = options[3]
    recompute = saved.dim() - (dims[4] is not None) == 4
    if recompute or any(needs[3:]) or any(dim is not None for dim in dims[9:]):
        if dims[4] is not None:  # the operator takes what forward saved as it was, in one piece
            saved, dims = saved.movedim(dims[4], 0).contiguous(), (*dims[:4], 0, *dims[5:])
        return _one_by_one(call, size, dims, cell, options, *operands[:4], saved, *operands[5:])
    batch = _batch_axis(options, batch_sizes)
    fold = _Fold(size)
    axes = (batch, 1, 1, batch, 1, batch, None, 1, 1)
    folded = [fold(t, dim, axis) for t, dim, axis in zip(operands[:9], dims[:9], axes, strict=True)]
    folded[4] = fold(saved, dims[4], 1).contiguous()  # type: ignore[union-attr]
    folded[6] = None if batch_sizes is None else batch_sizes * size
    found = call(cell, options, *folded, *weights)
    wanted = [axis if need else None for axis, need in zip((batch, 1, 1), needs, strict=False)]
    return fold.undo(found, (*wanted, *[None] * len(weights)))


class _Fold:
    """V entries inside an axis of a tensor, behind what was there: row b of entry v is row b V + v."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, t: Tensor | None, dim: int | None, axis: int | None) -> Tensor | None:
        if t is None or axis is None:
            return t
        if dim is None:
            rows = t.unsqueeze(axis + 1).expand(*t.shape[: axis + 1], self.size, *t.shape[axis + 1 :])
        else:
            rows = t.movedim(dim, axis + 1)
        return rows.flatten(axis, axis + 1)

    def undo(self, tensors: Sequence[Tensor], axes: Dims) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """The tensors with an axis of their own for the entries, and which that is."""
        apart = tuple(
            t if axis is None else t.unflatten(axis, (t.size(axis) // self.size, self.size))
            for t, axis in zip(tensors, axes, strict=True)
        )
        return apart, tuple(None if axis is None else axis + 1 for axis in axes)


def _one_by_one(call: Callable, size: int, dims: Dims, cell: str, options: tuple, *operands: Any) -> tuple:
    def entry(i: int) -> list:
        return [t if dim is None else t.select(dim, i) for t, dim in zip(operands, dims, strict=True)]

    results = [call(cell, options, *entry(i)) for i in range(size)]
    stacked = tuple(torch.stack(tensors) for tensors in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _batch_axis(options: tuple, batch_sizes: Tensor | None) -> int:
    return 0 if batch_sizes is not None or options[2] else 1


def _check_lengths(dim: int | None) -> None:
    if dim is not None:
        raise ValueError(
            "Expected batch_sizes that are the same for all entries of vmap, got batched ones; "
            "pack the sequences of all entries in one PackedSequence and call the layer once"
        )


def _forward_under_vmap(info: Any, in_dims: tuple, cell: str, *arguments: Any) -> tuple:
    def flat(arguments: Sequence) -> tuple[tuple, tuple]:
        *first, weights, biases, bidirectional, batch_first, save = arguments[:9]
        return (biases, bidirectional, batch_first, save, *arguments[9:]), (*first, *weights)

    _, dims = flat(in_dims[1:])
    options, operands = flat(arguments)
    return forward_rule(forward, info.batch_size, dims, cell, options, *operands)


def _backward_under_vmap(size: int, in_dims: Sequence, cell: str, *arguments: Any) -> tuple[list, list]:
    def flat(arguments: Sequence) -> tuple[tuple, tuple]:
        *first, weights, output, saved, biases, bidirectional, batch_first, needs = arguments
        return (biases, bidirectional, batch_first, needs), (*first[:3], output, saved, *first[3:], *weights)

    _, dims = flat(in_dims[1:])
    options, operands = flat(arguments)
    found, where = backward_rule(backward, size, dims, cell, options, *operands)
    return list(found), list(where)


def under_autograds_vmap(rule: Callable[..., tuple[list, list]]) -> Callable:
    """A kernel for the vmap of torch.autograd itself, which is an older one than torch.func's and takes no rule.

    ``rule(size, in_dims, *arguments)`` returns the results and where the entries lie in each.
    """

    def kernel(*arguments: Any) -> Any:
        level = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        sizes = set()

        def unwrap(value: Any) -> tuple[Any, Any]:
            if isinstance(value, (list, tuple)):
                pairs = [unwrap(v) for v in value]
                return [v for v, _ in pairs], [dim for _, dim in pairs]
            if not isinstance(value, Tensor) or not torch._C._functorch.is_legacy_batchedtensor(value):
                return value, None
            plain = torch._remove_batch_dim(value, level, 1, 0)
            sizes.add(plain.size(0))
            return plain, 0

        plain, in_dims = unwrap(arguments)
        found, where = rule(sizes.pop(), in_dims, *plain)
        return [t if dim is None else torch._add_batch_dim(t, dim, level) for t, dim in zip(found, where, strict=True)]

    return kernel


torch.library.register_vmap("fastrnn::forward", _forward_under_vmap)
torch.library.register_vmap(
    "fastrnn::backward", lambda info, in_dims, *arguments: _backward_under_vmap(info.batch_size, in_dims, *arguments)
)
_library = torch.library.Library("fastrnn", "IMPL")
_library.impl("backward", under_autograds_vmap(_backward_under_vmap), "Batched")
