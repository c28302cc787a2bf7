"""One layer with its derivatives.

The derivative of the forward operator is the backward operator, tied together in csrc/torch/autograd.cpp. The
derivative of the backward operator, for gradient penalties and the like, goes through the plain-torch reference: here.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastrnn._core import operators, transforms
from fastrnn._core.call import CONSTANTS, Call, Results


def layer(call: Call) -> Results:
    """One layer, all its directions, by the fused kernels: output, h_n (D, B, P) and c_n (D, B, H).

    With ``recompute`` almost nothing is saved for the backward pass, which computes it again: see docs/adr/0004.
    """
    transformed = torch._C._are_functorch_transforms_active()
    # The kernels have no forward-mode derivatives. torch.compile cannot trace autograd functions inside transforms.
    if forward_ad._current_level >= 0 or (transformed and torch.compiler.is_dynamo_compiling()):
        return operators.run_reference(call)
    if transformed:
        return transforms.layer(call)
    return operators.run_forward(call, save=False)[:3]


def saves_little(call: Call) -> bool:
    """Whether the kernels save next to nothing for the backward pass of this call with ``recompute``. Layer
    normalization cannot be found again from what is there, nor can the h that zoneout mixes, of cells that save nothing
    else."""
    return call.cell.recomputable or not (call.cell.saves or call.zoneout_rates[0])


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    call, given = operators.backward_call(*inputs)
    ctx.call, ctx.needs, ctx.arguments = call.bare(), given.needs, _arguments_given(inputs)
    ctx.save_for_backward(*given.incoming, *call.constants(), *call.tensors())


def _arguments_given(inputs: tuple) -> int:
    """How many arguments torch counts: not those at the end that are the default, which it has filled in."""
    schema = operators.backward._schema.arguments
    at_default = itertools.takewhile(
        lambda pair: pair[0].has_default_value() and _is_default(pair[1], pair[0].default_value),
        zip(reversed(schema), reversed(inputs), strict=True),
    )
    return len(inputs) - len(list(at_default))


def _is_default(value: Any, default: Any) -> bool:
    return not isinstance(value, Tensor) and value == default


def _second_derivative(ctx: Any, grads_of_grads: Sequence[Tensor | None]) -> tuple:
    d_output, d_hn, d_cn, *others = ctx.saved_tensors
    call = ctx.call.filled(others[:CONSTANTS], others[CONSTANTS:])
    found = transforms.second_derivative(call, (d_output, d_hn, d_cn), ctx.needs, grads_of_grads)
    *d_incoming, d_input, d_h0, d_c0 = found[:6]
    # cell, the incoming gradients, input, batch_sizes, h0, c0, weights; the other arguments have no gradient
    gradients = (None, *d_incoming, d_input, None, d_h0, d_c0, found[6:])
    return *gradients, *[None] * (ctx.arguments - len(gradients))


torch.library.register_autograd("fastrnn::backward", _second_derivative, setup_context=_setup)
