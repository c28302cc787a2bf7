"""Forward and backward tied together; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastrnn import ops, reference


def layer(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer, all its directions, by the fused kernels: arguments and results as :func:`fastrnn.reference.layer`."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (input, h0, c0, *weights)):
        return _Layer.apply(cell, biases, bidirectional, batch_first, batch_sizes, input, h0, c0, *weights)
    return ops.forward(cell, input, batch_sizes, h0, c0, list(weights), biases, bidirectional, batch_first, False)[:3]


class _Layer(torch.autograd.Function):
    """The fused forward pass, and back-propagation through time by the fused backward pass."""

    @staticmethod
    def forward(ctx: Any, cell, biases, bidirectional, batch_first, batch_sizes, input, h0, c0, *weights):
        options = (biases, bidirectional, batch_first)
        output, hn, cn, saved = ops.forward(cell, input, batch_sizes, h0, c0, list(weights), *options, True)
        ctx.save_for_backward(batch_sizes, input, h0, c0, output, saved, *weights)
        ctx.cell, ctx.options = cell, options
        ctx.set_materialize_grads(False)
        if cell != "lstm":
            ctx.mark_non_differentiable(cn)
        return output, hn, cn

    @staticmethod
    def backward(ctx: Any, d_output, d_hn, d_cn):
        batch_sizes, input, h0, c0, output, saved, *weights = ctx.saved_tensors
        needs = list(ctx.needs_input_grad[5:])
        if ctx.cell != "lstm":
            d_cn = None
        if torch.is_grad_enabled():  # create_graph=True: the gradient itself is to be differentiated
            grads = _by_reference(ctx, (d_output, d_hn, d_cn), batch_sizes, [input, h0, c0, *weights], needs)
        else:
            grads = ops.backward(
                ctx.cell, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weights, output, saved, *ctx.options, needs
            )
        return (None, None, None, None, None, *(g if need else None for g, need in zip(grads, needs, strict=True)))


def _by_reference(ctx: Any, incoming, batch_sizes, operands, needs) -> list[Tensor | None]:
    """The same gradients through the plain-torch reference, as functions that can be differentiated again."""
    input, h0, c0, *weights = operands
    outputs = reference.layer(ctx.cell, input, batch_sizes, h0, c0, weights, *ctx.options)
    pairs = [(out, d) for out, d in zip(outputs, incoming, strict=True) if d is not None]
    wanted = [t for t, need in zip(operands, needs, strict=True) if need]
    grads = iter(
        torch.autograd.grad(
            [out for out, _ in pairs], wanted, [d for _, d in pairs], create_graph=True, allow_unused=True
        )
        if pairs
        else [None] * len(wanted)
    )
    return [next(grads) if need else None for need in needs]
