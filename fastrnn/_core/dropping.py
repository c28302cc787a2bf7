"""Dropout around the layers of a call, in training: of the recurrent weights, of the input and between layers. (Inside
the steps: regularized.py.)

Weight dropout is DropConnect on every W_hh, one mask for all steps of a call: S. Merity et al., 2018, Regularizing and
optimizing LSTM language models. Locked (variational) dropout has one mask for all steps of a sequence: Y. Gal and
Z. Ghahramani, 2016, A theoretically grounded application of dropout in recurrent neural networks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from fastrnn._core.call import Call
from fastrnn._core.masks import drop, kept


def before_layers(call: Call) -> Call:
    """The call with its input and recurrent weights dropped out, as it asks for."""
    if not call.training or not (call.input_dropout or call.weight_dropout):
        return call
    input, weights = call.input, call.weights
    if call.weight_dropout:
        names = call.weight_names()
        weights = [
            drop(w, call.weight_dropout) if names[i % len(names)] == "w_hh" else w for i, w in enumerate(weights)
        ]
    if call.input_dropout:
        input = (
            _drop_locked(call, input, call.input_dropout) if call.locked_dropout else drop(input, call.input_dropout)
        )
    return call.with_tensors(input, call.h0, call.c0, weights)


def drops_between(call: Call) -> bool:
    """Whether something is dropped out between layers."""
    return bool(call.dropout) and call.training and call.num_layers > 1


def between_layers(call: Call, output: Tensor) -> Tensor:
    """The output of a layer as the next one gets it, where :func:`drops_between`."""
    return _drop_locked(call, output, call.dropout) if call.locked_dropout else dropout(output, call.dropout)


def _drop_locked(call: Call, t: Tensor, p: float) -> Tensor:
    """One mask for all steps: (B, F), whose rows are those of the batch."""
    if call.batch_sizes is None:
        axis = call.batch_axis()
        return drop(t, p, kept((t.size(axis), t.size(2)), p, t.device).unsqueeze(1 - axis))
    # Row r of packed input is row r - (rows of earlier steps) of the batch. In a graph the size of the batch is data,
    # so there a mask has a row for each row of input.
    sizes, rows = call.batch_sizes, t.size(0)
    batch: Any = rows if torch.compiler.is_compiling() else int(sizes[0])
    first = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes, output_size=rows)
    place = (torch.arange(rows, device=first.device) - first).to(t.device)
    return drop(t, p, kept((batch, t.size(1)), p, t.device)[place])
