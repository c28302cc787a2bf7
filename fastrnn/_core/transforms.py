"""torch.func's transforms of a layer: grad, vjp, vmap and what is made of them, by the same kernels.

functorch does not support autograd functions in C++, such as csrc/torch/autograd.cpp. While a transform is active their
Python twins run, which are here (docs/adr/0013). Autograd does not look into tuples, so they take a call without its
tensors, and the tensors one by one: :meth:`Call.constants` and :meth:`Call.tensors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastrnn._core import batching, operators
from fastrnn._core.call import CONSTANTS, Call, Results


def layer(call: Call) -> Results:
    """One layer inside a transform."""
    levels = torch._C._functorch.get_interpreter_stack() or ()
    if any(level.key() == torch._C._functorch.TransformType.Functionalize for level in levels):
        # Functionalization supports autograd functions neither in Python nor in C++.
        return operators.run_reference(call)
    bare = call._replace(recompute=False).bare()
    output, h_n, c_n, _ = Layer.apply(bare, *call.constants(), *call.tensors())
    return output.clone(), h_n, c_n  # the user may change it in place, and the backward pass needs it unchanged


class Layer(torch.autograd.Function):
    """The forward operator of one layer."""

    @staticmethod
    def forward(call: Call, *operands: Any) -> tuple[Tensor, ...]:
        return batching.forward(call, *operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, outputs: tuple) -> None:
        ctx.call, *operands = inputs
        output, _, c_n, saved = outputs
        ctx.mark_non_differentiable(saved, *(() if ctx.call.cell.carries_c else (c_n,)))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output, saved, *operands)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, _: None) -> tuple:
        needs = tuple(ctx.needs_input_grad[1 + CONSTANTS :])
        grads = Gradients.apply(ctx.call, needs, d_output, d_hn, d_cn, *ctx.saved_tensors)
        wanted = (d if need else None for d, need in zip(grads, needs, strict=True))
        return None, *[None] * CONSTANTS, *wanted

    @staticmethod
    def vmap(info: Any, in_dims: tuple, call: Call, *operands: Any) -> tuple:
        return batching.forward_rule(Layer.apply, info.batch_size, in_dims[1:], call, *operands)


class Gradients(torch.autograd.Function):
    """The backward operator of one layer, differentiable in turn."""

    @staticmethod
    def forward(call: Call, needs: Sequence[bool], *operands: Any) -> tuple[Tensor, ...]:
        return batching.backward(call, needs, *operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, outputs: tuple) -> None:
        ctx.call, ctx.needs, *operands = inputs
        ctx.save_for_backward(*operands)

    @staticmethod
    def backward(ctx: Any, *grads_of_grads: Tensor) -> tuple:
        d_output, d_hn, d_cn, _, _, *others = ctx.saved_tensors
        call = ctx.call.filled(others[:CONSTANTS], others[CONSTANTS:])
        found = second_derivative(call, (d_output, d_hn, d_cn), ctx.needs, grads_of_grads)
        return None, None, *found[:3], None, None, *[None] * CONSTANTS, *found[3:]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, call: Call, needs: Sequence[bool], *operands: Any) -> tuple:
        return batching.backward_rule(Gradients.apply, info.batch_size, in_dims[2:], call, needs, *operands)


def second_derivative(
    call: Call,
    incoming: Sequence[Tensor | None],
    needs: Sequence[bool],
    grads_of_grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Differentiate what the backward operator computes, as a function of the incoming gradients and the operands.

    The function is written with the plain-torch reference. The saved output is a function of the operands too, so it
    counts as a constant.

    Args:
        incoming: the gradients of output, h_n, c_n.
        needs: which gradients were asked for, of :meth:`Call.tensors`.
        grads_of_grads: the incoming gradients of those gradients.

    Returns:
        the gradients of ``incoming`` and of :meth:`Call.tensors`.
    """
    if call.groups:
        return _of_each_group(call, incoming, needs, grads_of_grads)
    variables = (*incoming, *call.tensors())
    given = [t for t in variables if t is not None]

    def gradients(*given: Tensor) -> tuple[Tensor, ...]:
        d_output, d_hn, d_cn, *tensors = _filled(variables, given)
        wanted = [t for t, need in zip(tensors, needs, strict=True) if need]

        def outputs(*wanted: Tensor) -> tuple[Tensor, ...]:
            found = iter(wanted)
            input, h0, c0, *weights = (next(found) if need else t for t, need in zip(tensors, needs, strict=True))
            results = operators.run_reference(call.with_tensors(input, h0, c0, weights))
            return tuple(r for r, d in zip(results, incoming, strict=True) if d is not None)

        _, pull = torch.func.vjp(outputs, *wanted)  # type: ignore[misc]
        return pull(tuple(d for d in (d_output, d_hn, d_cn) if d is not None))

    primal, pull = torch.func.vjp(gradients, *given)  # type: ignore[misc]
    again = [gg for gg, need in zip(grads_of_grads, needs, strict=True) if need]
    pairs = zip(primal, again, strict=True)
    return _filled(variables, pull(tuple(torch.zeros_like(g) if gg is None else gg for g, gg in pairs)))


def _of_each_group(
    call: Call, incoming: Sequence[Tensor | None], needs: Sequence[bool], grads_of_grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The same where the gradients of weights are sums over groups of rows: of one group after the other."""
    count, batch = call.groups, call.batch_axis()

    def rows(t: Tensor | None, axis: int, group: int) -> Tensor | None:
        return None if t is None else t.movedim(axis, 0)[group::count].movedim(0, axis)

    axes = (batch, 1, 1, batch, 1, 1)  # of incoming, input, h0 and c0
    again = [gg if need else None for gg, need in zip(grads_of_grads, needs, strict=True)]
    found = []
    for group in range(count):
        given = [rows(t, axis, group) for t, axis in zip((*incoming, *call.tensors()[:3]), axes, strict=True)]
        of_rows = [rows(gg, axis, group) for gg, axis in zip(again[:3], axes[3:], strict=True)]
        of_weights = [None if gg is None else gg[group] for gg in again[3:]]
        input, h0, c0 = given[3:]
        alone = call.with_tensors(input, h0, c0, call.weights)._replace(  # type: ignore[arg-type]
            groups=0,
            batch_sizes=None if call.batch_sizes is None else call.batch_sizes // count,
            lengths=rows(call.lengths, 0, group),
            resets=rows(call.resets, batch, group),
            recurrent_mask=rows(call.recurrent_mask, 1, group),
            zoneout_h=rows(call.zoneout_h, batch, group),
            zoneout_c=rows(call.zoneout_c, batch, group),
        )
        found.append(second_derivative(alone, given[:3], needs, [*of_rows, *of_weights]))
    whole: list[Tensor | None] = [
        None if parts[0] is None else torch.stack(parts, axis + 1).flatten(axis, axis + 1)
        for axis, parts in zip(axes, zip(*[of[:6] for of in found], strict=True), strict=True)
    ]
    return whole + [sum(parts) for parts in zip(*[of[6:] for of in found], strict=True)]


def _filled(pattern: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list:
    """The tensors in the places that are not None in ``pattern``."""
    following = iter(tensors)
    return [None if t is None else next(following) for t in pattern]
