"""torch.vmap over a layer: V entries in one call where possible.

Entries that share their weights are a batch V times as large, so they are folded into the batch. The gradients of the
weights, which each entry has of its own, are sums over its rows, which the backward operator keeps apart (``groups``).
If every entry has its own weights there are V calls.

The rules are registered for the operators, so they also apply when a backward pass that was recorded outside of vmap
gets batched gradients: ``is_grads_batched=True``, ``jacobian(vectorize=True)``, vmap over ``torch.autograd.grad``. Here
a call is passed without its tensors, and the tensors one by one: :meth:`Call.constants` and :meth:`Call.tensors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fastrnn._core import operators
from fastrnn._core.call import CONSTANTS, Call
from fastrnn._core.operators import Backward

Dims = Sequence[int | None]  # each tensor's axis of entries, if it has one

# Of constants() and tensors().
_NAMES = (
    *("batch_sizes", "lengths", "resets", "recurrent_mask", "zoneout_h", "zoneout_c"),
    *("input", "h0", "c0", "weights"),
)
_WEIGHTS = CONSTANTS + 3  # place of the first weight among those
_SAVED = 4  # place of `saved` behind d_output, d_hn, d_cn, output
_BESIDES = 5  # place of the constants behind those
_LEVELS = 64  # of autograd's vmap, one inside the other


def forward(call: Call, *operands: Any) -> tuple:
    """The forward operator of separate tensors; what it saves is for the backward operator."""
    return operators.run_forward(call.filled(operands[:CONSTANTS], operands[CONSTANTS:]), save=True)


def backward(call: Call, needs: Sequence[bool], *operands: Any) -> tuple[Tensor, ...]:
    """The backward operator of separate tensors: those of :class:`Backward`, then as :func:`forward`."""
    d_output, d_hn, d_cn, output, saved, *others = operands
    given = Backward((d_output, d_hn, d_cn), output, saved, needs)
    return tuple(operators.run_backward(call.filled(others[:CONSTANTS], others[CONSTANTS:]), given))


def forward_rule(apply: Callable, size: int, dims: Dims, call: Call, *operands: Any) -> tuple:
    """The results of ``apply(call, *operands)`` for all entries, and each result's axis of entries."""
    _check_batch_sizes(dims[0])
    # What is saved for recomputing depends on the size of the batch.
    if call.recompute or _own_order(dims[:CONSTANTS]) or any(dim is not None for dim in dims[_WEIGHTS:]):
        return _one_by_one(apply, size, dims, (call,), *operands)
    batch_sizes, *others = operands[:_WEIGHTS]
    batch = _batch_axis(call, batch_sizes)
    fold = _Fold(size)
    folded = [fold(t, dim, axis) for t, dim, axis in zip(others, dims[1:_WEIGHTS], _axes(batch), strict=True)]
    sizes = None if batch_sizes is None else batch_sizes * size
    output, h_n, c_n, saved = apply(call, sizes, *folded, *operands[_WEIGHTS:])
    # Empty results have no such axis: c_n of cells that carry no c, and `saved` of a call that saves nothing.
    axes = batch, 1, 1 if c_n.dim() > 1 else None, 1 if saved.dim() > 1 else None
    return fold.undo((output, h_n, c_n, saved), axes)


def backward_rule(apply: Callable, size: int, dims: Dims, call: Call, needs: Sequence[bool], *operands: Any) -> tuple:
    """The gradients that ``apply(call, needs, *operands)`` returns, likewise."""
    saved, batch_sizes, weights = operands[_SAVED], operands[_BESIDES], operands[_BESIDES + _WEIGHTS :]
    _check_batch_sizes(dims[_BESIDES])
    apart = any(needs[3:])  # gradients of weights, of which each entry has its own
    whole = call.recompute or (apart and not saved.is_cpu) or _own_order(dims[_BESIDES : _BESIDES + CONSTANTS])
    if whole or any(dim is not None for dim in dims[_BESIDES + _WEIGHTS :]):
        if dims[_SAVED] is not None:  # the operator needs what forward saved in one piece
            saved, dims = saved.movedim(dims[_SAVED], 0).contiguous(), (*dims[:_SAVED], 0, *dims[_SAVED + 1 :])
        operands = (*operands[:_SAVED], saved, *operands[_SAVED + 1 :])
        return _one_by_one(apply, size, dims, (call, needs), *operands)
    batch = _batch_axis(call, batch_sizes)
    fold = _Fold(size)
    axes = (batch, 1, 1, batch, 1, None, *_axes(batch))  # of d_output, d_hn, d_cn, output, saved, batch_sizes, …, c0
    folded = [fold(t, dim, axis) for t, dim, axis in zip(operands[: len(axes)], dims[: len(axes)], axes, strict=True)]
    folded[_SAVED] = folded[_SAVED].contiguous()  # type: ignore[union-attr]
    folded[_BESIDES] = None if batch_sizes is None else batch_sizes * size
    # Row b of group g of an entry v becomes row (b G + g) V + v, which belongs to group g V + v.
    among = call._replace(groups=max(1, call.groups) * size) if apart else call
    found = apply(among, needs, *folded, *weights)
    where = [axis if need else None for axis, need in zip((batch, 1, 1, *[0] * len(weights)), needs, strict=True)]
    rows, of_rows = fold.undo(found[:3], where[:3])
    sums, of_sums = fold.undo(found[3:], where[3:]) if call.groups else (found[3:], tuple(where[3:]))
    return (*rows, *sums), (*of_rows, *of_sums)


class _Fold:
    """Folds V entries into an axis of a tensor: row b of entry v becomes row b V + v."""

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
        """The tensors with a separate axis for the entries, and which axis that is."""
        apart = tuple(
            t if axis is None else t.unflatten(axis, (t.size(axis) // self.size, self.size))
            for t, axis in zip(tensors, axes, strict=True)
        )
        return apart, tuple(None if axis is None else axis + 1 for axis in axes)


def _one_by_one(apply: Callable, size: int, dims: Dims, options: tuple, *operands: Any) -> tuple:
    def entry(i: int) -> list:
        return [t if dim is None else t.select(dim, i) for t, dim in zip(operands, dims, strict=True)]

    results = [apply(*options, *entry(i)) for i in range(size)]
    stacked = tuple(torch.stack(tensors) for tensors in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _axes(batch: int) -> tuple[int, ...]:
    """The axes of the batch in lengths, resets, recurrent_mask, zoneout_h, zoneout_c, input, h0 and c0."""
    return 0, batch, 1, batch, batch, batch, 1, 1


def _own_order(constants: Dims) -> bool:
    """Whether entries have lengths of their own. What is saved has the order of the lengths."""
    return constants[1] is not None


def _batch_axis(call: Call, batch_sizes: Tensor | None) -> int:
    return call._replace(batch_sizes=batch_sizes).batch_axis()


def _check_batch_sizes(dim: int | None) -> None:
    if dim is not None:
        raise ValueError(
            "Expected the same batch_sizes for all entries of vmap, got batched ones; "
            "pass padded input with lengths, or pack the sequences of all entries into one PackedSequence and "
            "call the layer once"
        )


def _forward_under_vmap(info: Any, in_dims: tuple, *arguments: Any) -> tuple:
    call, save = operators.forward_call(*arguments)

    def apply(call: Call, *operands: Any) -> tuple:
        return operators.run_forward(call.filled(operands[:CONSTANTS], operands[CONSTANTS:]), save)

    dims = _dims(operators.forward, in_dims, _NAMES)
    return forward_rule(apply, info.batch_size, dims, call.bare(), *call.constants(), *call.tensors())


def _backward_under_vmap(size: int, in_dims: Sequence, *arguments: Any) -> tuple[list, list]:
    call, given = operators.backward_call(*arguments)
    names = ("d_output", "d_hn", "d_cn", "output", "saved", *_NAMES)
    dims = _dims(operators.backward, in_dims, names)
    operands = (*given.incoming, given.output, given.saved, *call.constants(), *call.tensors())
    found, where = backward_rule(backward, size, dims, call.bare(), given.needs, *operands)
    return list(found), list(where)


def _dims(operator: torch._ops.OpOverload, in_dims: Sequence, names: Sequence[str]) -> list[int | None]:
    """The axes of entries of the arguments of these names. The last are the weights, which have one each."""
    named = operators.by_name(operator, in_dims)
    *others, weights = (named[name] for name in names)
    return [*others, *weights]


def under_autograds_vmap(rule: Callable[..., tuple[list, list]]) -> Callable:
    """A kernel for torch.autograd's own vmap, which is older than torch.func's and takes no rules.

    ``rule(size, in_dims, *arguments)`` returns the results and each result's axis of entries.
    """

    def kernel(*arguments: Any) -> Any:
        level = _innermost_level(arguments)
        sizes = set()

        def unwrap(value: Any) -> tuple[Any, Any]:
            if isinstance(value, (list, tuple)):
                pairs = [unwrap(v) for v in value]
                return [v for v, _ in pairs], [dim for _, dim in pairs]
            if not _is_batched(value):
                return value, None
            plain = torch._remove_batch_dim(value, level, 1, 0)
            sizes.add(plain.size(0))
            return plain, 0

        plain, in_dims = unwrap(arguments)
        found, where = rule(sizes.pop(), in_dims, *plain)
        return [t if dim is None else torch._add_batch_dim(t, dim, level) for t, dim in zip(found, where, strict=True)]

    return kernel


def _is_batched(value: Any) -> bool:
    return isinstance(value, Tensor) and torch._C._functorch.is_legacy_batchedtensor(value)


def _innermost_level(arguments: Sequence[Any]) -> int:
    """The level of autograd's vmap that a kernel is called at.

    It is the thread's own. A backward pass on a GPU runs on a thread of autograd's, which is in no vmap: there it is
    the level without which the tensors are plain.
    """
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    if level > 0:
        return level
    batched = next(filter(_is_batched, tree_leaves(arguments)))
    for level in range(1, _LEVELS):
        if not _is_batched(torch._remove_batch_dim(batched, level, 1, 0)):
            return level
    raise NotImplementedError(
        "Expected one is_grads_batched=True or vectorize=True around a backward pass on a GPU, got several, one inside "
        "the other; use torch.func.vmap"
    )


torch.library.register_vmap("fastrnn::forward", _forward_under_vmap)
torch.library.register_vmap(
    "fastrnn::backward", lambda info, in_dims, *arguments: _backward_under_vmap(info.batch_size, in_dims, *arguments)
)
_library = torch.library.Library("fastrnn", "IMPL")
_library.impl("backward", under_autograds_vmap(_backward_under_vmap), "Batched")
