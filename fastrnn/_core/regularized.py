"""The masks of a layer's steps: recurrent dropout and zoneout.

Recurrent (variational) dropout multiplies h_{t-1} by one mask for all steps before W_hh, and nowhere else: Y. Gal and
Z. Ghahramani, 2016, A theoretically grounded application of dropout in recurrent neural networks. Zoneout keeps units
of h and of c as they were, others at each step: D. Krueger et al., 2017, Zoneout: regularizing RNNs by randomly
preserving hidden activations. At inference it keeps that much of every unit.

The masks are operands of the operators like any other, without a gradient; so they are the same forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastrnn._core.call import Call
from fastrnn._core.masks import kept, scale


def with_masks(layer: Call, stack: Call) -> Call:
    """The call of one layer with the masks that its stack asks for, drawn anew from torch's generator."""
    if not stack.is_regularized():
        return layer
    mask = _of_recurrent_dropout(layer, stack.recurrent_dropout) if stack.training else None
    rate_h, rate_c = stack.zoneout_rates
    return layer._replace(
        recurrent_mask=mask,
        zoneout_h=_of_zoneout(layer, rate_h, stack.training, layer.output_size()),
        zoneout_c=_of_zoneout(layer, rate_c, stack.training, layer.hidden_size()),
    )


def _of_recurrent_dropout(call: Call, p: float) -> Tensor | None:
    if not p:
        return None
    # In a graph the size of a packed batch is data, so there the mask has a row for each row of input: no fewer.
    batch: Any = call.input.size(call.batch_axis())
    if call.batch_sizes is not None and not torch.compiler.is_compiling():
        batch = int(call.batch_sizes[0])
    mask = kept((call.directions(), batch, call.output_size()), p, call.input.device)
    return mask.to(call.input.dtype) * scale(p)


def _of_zoneout(call: Call, p: float, training: bool, features: Any) -> Tensor | None:
    if not p:
        return None
    input, sizes = call.input, (*call.input.shape[:-1], call.directions() * features)
    if training:
        return kept(sizes, 1 - p, input.device).to(input.dtype)
    return _constant(p, sizes, input.device, input.dtype)


def blended(call: Call, rates: tuple[float, float], output_size: int, hidden_size: int) -> Call:
    """The call, at inference, of packed weights, which say no sizes: zoneout in float32 whatever the input's dtype."""
    input, directions = call.input, call.directions()
    h, c = (
        _constant(p, (*input.shape[:-1], directions * size), input.device, torch.float32) if p else None
        for p, size in zip(rates, (output_size, hidden_size), strict=True)
    )
    return call._replace(zoneout_h=h, zoneout_c=c)


def _constant(p: float, sizes: Sequence[Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The same row everywhere: the memory of one."""
    return torch.full(tuple(sizes[-1:]), p, device=device, dtype=dtype).expand(*sizes)
