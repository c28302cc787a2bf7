"""One layer with its derivatives.

The derivative of the forward operator is the backward operator, tied together in csrc/torch/autograd.cpp. The derivative of
the backward operator, for gradient penalties and the like, goes through the plain-torch reference: here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastrnn import reference
from fastrnn._core import operators, transforms


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
    options = (biases, bidirectional, batch_first)
    transformed = torch._C._are_functorch_transforms_active()
    # Kernels know no dual numbers, which may be about here; torch.compile has no graph of functions inside transforms.
    if forward_ad._current_level >= 0 or (transformed and torch.compiler.is_dynamo_compiling()):
        return reference.layer(cell, input, batch_sizes, h0, c0, weights, *options)
    if transformed:
        return transforms.layer(cell, input, batch_sizes, h0, c0, weights, *options)
    return operators.forward(cell, input, batch_sizes, h0, c0, list(weights), *options, False, recompute)[:3]


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    cell, d_output, d_hn, d_cn, input, batch_sizes, h0, c0, weights, _, _, *options = inputs
    ctx.cell, ctx.options = cell, options
    ctx.save_for_backward(d_output, d_hn, d_cn, input, batch_sizes, h0, c0, *weights)


def _second_derivative(ctx: Any, grads_of_grads: Sequence[Tensor | None]) -> tuple:
    d_output, d_hn, d_cn, *operands = ctx.saved_tensors
    found = transforms.second_derivative(ctx.cell, ctx.options, (d_output, d_hn, d_cn), operands, grads_of_grads)
    *others, d_h0, d_c0 = found[:7]
    # cell, … weights; output, saved, the three options, needs
    return None, *others, d_h0, d_c0, found[7:], None, None, None, None, None, None


torch.library.register_autograd("fastrnn::backward", _second_derivative, setup_context=_setup)
