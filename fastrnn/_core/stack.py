"""Layers on top of each other: the loop over layers, with dropout between them. It knows nothing of cells' gates."""

from __future__ import annotations

import torch
from torch import Tensor

from fastrnn._core.call import Call, Layer, States
from fastrnn._core.dropping import between_layers, drops_between
from fastrnn._core.regularized import with_masks

Stacked = tuple[Tensor, Tensor, Tensor, States | None]


def stack(layer: Layer, call: Call) -> Stacked:
    """Run all layers of a call, each on the output of the one below, dropped out in training.

    Args:
        layer: what runs one layer: :func:`fastrnn._core.autograd.layer` or
            :func:`fastrnn._core.operators.run_reference`.

    Returns:
        the last layer's output; h_n (L D, B, P); c_n (L D, B, H), of shape (0,) where the cell carries no c; with
        ``every_state`` all states, else None.
    """
    if call.num_layers == 1 and not call.every_state:
        return *layer(with_masks(call, call)), None
    directions = call.directions()
    per_layer = directions * call.weights_per_direction()
    # torch draws a mask in the order (T, B, H). So that the same seed gives the same mask here, layers below a dropout
    # run time first; the last one takes their output the other way round, without a copy.
    drops = drops_between(call)
    time_first = drops and call.batch_first
    below = _time_first(call) if time_first else call
    output = call.input.transpose(0, 1) if time_first else call.input
    h_n, c_n, hs, cs = [], [], [], []
    for i in range(call.num_layers):
        top = i == call.num_layers - 1
        if time_first and top:
            output = output.transpose(0, 1)
        rows = slice(i * directions, (i + 1) * directions)
        weights = call.weights[i * per_layer : (i + 1) * per_layer]
        options = call if top else below
        one = options.of_layer(output, _rows(call.h0, rows), _rows(call.c0, rows), weights)
        output, h, c = layer(with_masks(one, call))
        if call.every_state:
            width = directions * h.size(-1)
            in_order = output.transpose(0, 1) if time_first and not top else output
            hs.append(in_order[..., :width])
            cs.append(in_order[..., width:])
            output = output[..., :width]
        if drops and not top:
            output = between_layers(below, output)
        h_n.append(h)
        c_n.append(c)
    if not call.every_state:
        return output, torch.cat(h_n), torch.cat(c_n), None
    states = States(torch.stack(hs), torch.stack(cs) if call.cell.carries_c else None)
    return states.h[-1], torch.cat(h_n), torch.cat(c_n), states


def _time_first(call: Call) -> Call:
    return call._replace(batch_first=False, resets=None if call.resets is None else call.resets.t())


def _rows(state: Tensor | None, rows: slice) -> Tensor | None:
    return None if state is None else state[rows]
