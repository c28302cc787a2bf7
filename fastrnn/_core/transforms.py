"""torch.func's transforms of a layer: grad, vjp, vmap and what is made of them, by the same kernels.

functorch does not take autograd functions of C++, such as csrc/torch/autograd.cpp. While a transform is active these twins in
Python run instead (docs/adr/0013). Their operands are flat, since autograd does not look into lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastrnn import reference
from fastrnn._core import batching

Options = tuple[bool, bool, bool]  # biases, bidirectional, batch_first


def layer(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    *options: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer inside a transform: arguments and results as :func:`fastrnn.reference.layer`."""
    levels = torch._C._functorch.get_interpreter_stack() or ()
    if any(level.key() == torch._C._functorch.TransformType.Functionalize for level in levels):
        # functorch has no rule for functions in Python here, nor for those in C++.
        return reference.layer(cell, input, batch_sizes, h0, c0, weights, *options)
    output, h_n, c_n, _ = Layer.apply(cell, options, input, batch_sizes, h0, c0, *weights)
    return output.clone(), h_n, c_n  # the backward pass needs the output, which the user may change in place


class Layer(torch.autograd.Function):
    """The forward operator of one layer."""

    @staticmethod
    def forward(cell: str, options: Options, *operands: Any) -> tuple[Tensor, ...]:
        return batching.forward(cell, (*options, True, False), *operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, outputs: tuple) -> None:
        ctx.cell, ctx.options, *operands = inputs
        output, _, c_n, saved = outputs
        ctx.mark_non_differentiable(saved, *(() if ctx.cell == "lstm" else (c_n,)))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output, saved, *operands)

    @staticmethod
    def backward(ctx: Any, d_output: Tensor | None, d_hn: Tensor | None, d_cn: Tensor | None, _: None) -> tuple:
        needs = tuple(ctx.needs_input_grad[2:])
        incoming = (d_output, d_hn, d_cn)
        grads = iter(Gradients.apply(ctx.cell, (*ctx.options, needs[:1] + needs[2:]), *incoming, *ctx.saved_tensors))
        d_input = next(grads)
        found = [d_input, None, *grads]  # batch_sizes have no gradient
        return None, None, *(d if need else None for d, need in zip(found, needs, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple, cell: str, options: Options, *operands: Any) -> tuple:
        return batching.forward_rule(Layer.apply, info.batch_size, in_dims[2:], cell, options, *operands)


class Gradients(torch.autograd.Function):
    """The backward operator of one layer, differentiable in turn."""

    @staticmethod
    def forward(cell: str, options: tuple, *operands: Any) -> tuple[Tensor, ...]:
        return batching.backward(cell, options, *operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, outputs: tuple) -> None:
        ctx.cell, ctx.options, *operands = inputs
        ctx.save_for_backward(*operands)

    @staticmethod
    def backward(ctx: Any, *grads_of_grads: Tensor) -> tuple:
        d_output, d_hn, d_cn, _, _, *operands = ctx.saved_tensors
        found = second_derivative(ctx.cell, ctx.options, (d_output, d_hn, d_cn), operands, grads_of_grads)
        return None, None, *found[:3], None, None, *found[3:]

    @staticmethod
    def vmap(info: Any, in_dims: tuple, cell: str, options: tuple, *operands: Any) -> tuple:
        return batching.backward_rule(Gradients.apply, info.batch_size, in_dims[2:], cell, options, *operands)


def second_derivative(
    cell: str,
    options: tuple,
    incoming: Sequence[Tensor | None],
    operands: Sequence[Tensor | None],
    grads_of_grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Differentiate what the backward operator computes, as a function of the incoming gradients and the operands.

    The function is written with the plain-torch reference. The saved output is a function of the operands too, so it
    counts as a constant.

    Args:
        options: biases, bidirectional, batch_first, and which gradients were asked for: of input, h0, c0, weights.
        incoming: the gradients of output, h_n, c_n.
        operands: input, batch_sizes, h0, c0, weights.
        grads_of_grads: the incoming gradients of the gradients of input, h0, c0, weights.

    Returns:
        the gradients of ``incoming`` and ``operands``, in their order.
    """
    *flags, needs = options
    input, batch_sizes, *others = operands
    variables = (*incoming, input, *others)
    given = [t for t in variables if t is not None]

    def gradients(*given: Tensor) -> tuple[Tensor, ...]:
        d_output, d_hn, d_cn, *operands = _filled(variables, given)
        wanted = [t for t, need in zip(operands, needs, strict=True) if need]

        def outputs(*wanted: Tensor) -> tuple[Tensor, ...]:
            found = iter(wanted)
            input, h0, c0, *weights = (next(found) if need else t for t, need in zip(operands, needs, strict=True))
            results = reference.layer(cell, input, batch_sizes, h0, c0, weights, *flags)
            return tuple(r for r, d in zip(results, incoming, strict=True) if d is not None)

        _, pull = torch.func.vjp(outputs, *wanted)  # type: ignore[misc]
        return pull(tuple(d for d in (d_output, d_hn, d_cn) if d is not None))

    primal, pull = torch.func.vjp(gradients, *given)  # type: ignore[misc]
    again = [gg for gg, need in zip(grads_of_grads, needs, strict=True) if need]
    pairs = zip(primal, again, strict=True)
    found = _filled(variables, pull(tuple(torch.zeros_like(g) if gg is None else gg for g, gg in pairs)))
    return [*found[:4], None, *found[4:]]


def _filled(pattern: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list:
    """The tensors in the places that are not None in ``pattern``."""
    following = iter(tensors)
    return [None if t is None else next(following) for t in pattern]
