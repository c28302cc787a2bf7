"""Layers on top of each other: the loop over layers, with dropout between them. It knows nothing of cells' gates."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import dropout

from fastrnn._core.call import Call, Layer, Results


def stack(layer: Layer, call: Call) -> Results:
    """Run all layers of a call, each on the output of the one below, dropped out in training.

    Args:
        layer: what runs one layer: :func:`fastrnn._core.autograd.layer` or
            :func:`fastrnn._core.operators.run_reference`.

    Returns:
        the last layer's output; h_n (L D, B, P); c_n (L D, B, H), of shape (0,) where the cell carries no c.
    """
    if call.num_layers == 1:
        return layer(call)
    directions = call.directions()
    per_layer = len(call.weights) // call.num_layers
    # torch draws a mask in the order (T, B, H). So that the same seed gives the same mask here, layers below a dropout
    # run time first; the last one takes their output the other way round, without a copy.
    drops = bool(call.dropout) and call.training
    time_first = drops and call.batch_first
    output = call.input.transpose(0, 1) if time_first else call.input
    h_n, c_n = [], []
    for i in range(call.num_layers):
        last = i == call.num_layers - 1
        if time_first and last:
            output = output.transpose(0, 1)
        rows = slice(i * directions, (i + 1) * directions)
        output, h, c = layer(
            call._replace(
                input=output,
                h0=_rows(call.h0, rows),
                c0=_rows(call.c0, rows),
                weights=call.weights[i * per_layer : (i + 1) * per_layer],
                num_layers=1,
                batch_first=call.batch_first and (last or not drops),
            )
        )
        if drops and not last:
            output = dropout(output, call.dropout)
        h_n.append(h)
        c_n.append(c)
    return output, torch.cat(h_n), torch.cat(c_n)


def _rows(state: Tensor | None, rows: slice) -> Tensor | None:
    return None if state is None else state[rows]
