"""One layer with its derivatives.

The derivative of the forward operator is the backward operator, tied together in csrc/autograd.cpp. The derivative of
the backward operator, for gradient penalties and the like, goes through the plain-torch reference: here.
"""

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
    recompute: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer, all its directions, by the fused kernels: arguments and results as :func:`fastrnn.reference.layer`.

    With ``recompute`` next to nothing is saved for the backward pass, which computes it again; see docs/adr/0004.
    """
    options = (biases, bidirectional, batch_first, False, recompute)
    return ops.forward(cell, input, batch_sizes, h0, c0, list(weights), *options)[:3]


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    cell, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weights, _, _, *options, needs = inputs
    ctx.cell, ctx.options, ctx.needs = cell, options, needs
    ctx.save_for_backward(d_output, d_hn, d_cn, batch_sizes, input, h0, c0, *weights)


def _second_derivative(ctx: Any, grads_of_grads: Sequence[Tensor | None]) -> tuple:
    """Differentiate what the backward operator computes, written as a function of the operands and incoming gradients.

    `output` and `saved` are functions of the operands too, so they count as constants.
    """
    d_output, d_hn, d_cn, batch_sizes, *operands = ctx.saved_tensors
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # As leaves of their own: one operand may be a function of another.
        operands = [_alias(t) for t in operands]
        incoming = [_alias(t) for t in (d_output, d_hn, d_cn)]
        input, h0, c0, *weights = operands
        outputs = reference.layer(ctx.cell, input, batch_sizes, h0, c0, weights, *ctx.options)
        pairs = [(out, d) for out, d in zip(outputs, incoming, strict=True) if d is not None]
        wanted = [t for t, need in zip(operands, ctx.needs, strict=True) if need]
        grads = torch.autograd.grad(
            [out for out, _ in pairs], wanted, [d for _, d in pairs], create_graph=True, allow_unused=True
        )
    again = [gg for gg, need in zip(grads_of_grads, ctx.needs, strict=True) if need]
    graded = [
        (g, gg) for g, gg in zip(grads, again, strict=True) if g is not None and g.requires_grad and gg is not None
    ]
    variables = [t for t in (*incoming, *operands) if t is not None]
    found = iter(
        torch.autograd.grad(
            [g for g, _ in graded], variables, [gg for _, gg in graded], create_graph=create_graph, allow_unused=True
        )
    )
    d2_output, d2_hn, d2_cn, d_input, d_h0, d_c0, *d_weights = (
        None if t is None else next(found) for t in (*incoming, *operands)
    )
    return (
        *(None, d2_output, d2_hn, d2_cn, d_input, None, d_h0, d_c0, d_weights),  # cell … weights
        *(None, None, None, None, None, None),  # output, saved, the three options, needs
    )


def _alias(t: Tensor | None) -> Tensor | None:
    return None if t is None else t.view_as(t) if t.requires_grad else t.detach().requires_grad_()


torch.library.register_autograd("fastrnn::backward", _second_derivative, setup_context=_setup)
