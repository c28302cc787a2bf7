"""Layers on top of each other: the loop over layers, with dropout between them. It knows nothing of cells' gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout as _dropout


def stack(
    layer: Callable[..., tuple[Tensor, Tensor, Tensor]],
    cell: str,
    input: Tensor,
    hx: Tensor | tuple[Tensor | None, Tensor | None] | None,
    weights: Sequence[Tensor],
    *,
    batch_sizes: Tensor | None,
    num_layers: int,
    biases: bool,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run ``num_layers`` layers, each on the output of the one below, dropped out in training.

    Args:
        layer: what runs one layer: :func:`fastrnn._core.autograd.layer` or :func:`fastrnn.reference.layer`, which
            describes the shapes of one layer.
        hx: h_0 (L D, B, P), layer by layer and in each the directions; for an LSTM (h_0, c_0) with c_0 (L D, B, H);
            or None for zeros.
        weights: of all layers, lowest first.
        dropout: the probability of zeroing an element of every layer's output but the last's.

    Returns:
        the last layer's output; h_n (L D, B, P); c_n (L D, B, H), of shape (0,) unless LSTM.
    """
    h0, c0 = hx if isinstance(hx, tuple) else (hx, None)
    if num_layers == 1:
        return layer(cell, input, batch_sizes, h0, c0, weights, biases, bidirectional, batch_first)
    directions = 2 if bidirectional else 1
    per_layer = len(weights) // num_layers
    # torch draws a mask in the order (T, B, H). So that the same seed gives the same mask here, layers below a dropout
    # run time first; the last one takes their output the other way round, without a copy.
    drops = bool(dropout) and training
    time_first = drops and batch_first
    output = input.transpose(0, 1) if time_first else input
    h_n, c_n = [], []
    for i in range(num_layers):
        last = i == num_layers - 1
        if time_first and last:
            output = output.transpose(0, 1)
        states = slice(i * directions, (i + 1) * directions)
        output, h, c = layer(
            cell,
            output,
            batch_sizes,
            None if h0 is None else h0[states],
            None if c0 is None else c0[states],
            weights[i * per_layer : (i + 1) * per_layer],
            biases,
            bidirectional,
            batch_first and (last or not drops),
        )
        if drops and not last:
            output = _dropout(output, dropout)
        h_n.append(h)
        c_n.append(c)
    return output, torch.cat(h_n), torch.cat(c_n)
