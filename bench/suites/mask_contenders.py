"""Who takes part in a row of bench/suites/features.py about dropouts and zoneout: see feature_contenders.py."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from bench.suites.feature_contenders import Contenders, input_of, ours, plain, theirs, training
from bench.suites.without_fastrnn import hidden, layer_norm_lstm, locked, loop, with_dropped, zoned
from fastrnn._bench.work import Shape


def regularized_layer_norm(cell: str, shape: Shape) -> Contenders:
    """Recurrent dropout and zoneout of h and c. Without them it is the layer with layer normalization."""
    layer = ours(cell, shape, layer_norm=True, recurrent_dropout=0.2, zoneout_h=0.1, zoneout_c=0.1)
    other, x = ours(cell, shape, layer_norm=True), input_of(shape)
    weights = {name.removesuffix("_l0"): weight for name, weight in other.named_parameters()}
    option = training(lambda x: layer(x)[:1], x, layer)
    steps = training(partial(layer_norm_lstm, weights, dropped=0.2, kept=0.1), x, other)
    return Contenders(option, plain(cell, shape, layer_norm=True), steps)


def weight_dropout(cell: str, shape: Shape) -> Contenders:
    """Half of the recurrent weights. torch.nn's layer is called with weights that torch's dropout returned."""
    layer, other, x = ours(cell, shape, weight_dropout=0.5), theirs(cell, shape), input_of(shape)
    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(lambda x: with_dropped(other, 0.5, x)[:1], x, other))


def locked_dropout(cell: str, shape: Shape) -> Contenders:
    """Of the input."""
    options = {"input_dropout": 0.4, "locked_dropout": True}
    layer, other, x = ours(cell, shape, **options), theirs(cell, shape), input_of(shape)
    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(lambda x: other(locked(x, 0.4))[:1], x, other))


def recurrent_dropout(cell: str, shape: Shape) -> Contenders:
    """Half of h as the recurrent matrix reads it, with one mask for all steps. torch's GRU cell is given one h, so that
    its loop masks also what the gates carry on: as much work, but other numbers."""
    layer, other, x = ours(cell, shape, recurrent_dropout=0.5), theirs(cell, shape, "Cell"), input_of(shape)

    def steps(x: Tensor) -> tuple[Tensor]:
        mask = dropout(x.new_ones(shape.B, shape.H), 0.5)
        masked = loop(other, x, lambda t, state: (mask * state[0], state[1]) if cell == "LSTM" else mask * state)
        return (torch.stack([hidden(state) for state in masked]),)

    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(steps, x, other))


def zoneout(cell: str, shape: Shape) -> Contenders:
    """A tenth of h, and of an LSTM's c, is kept at each step."""
    rates = {"zoneout_h": 0.1} | ({"zoneout_c": 0.1} if cell == "LSTM" else {})
    layer, other, x = ours(cell, shape, **rates), theirs(cell, shape, "Cell"), input_of(shape)

    def steps(x: Tensor) -> tuple[Tensor]:
        return (torch.stack([hidden(state) for state in loop(zoned(other, 0.1), x)]),)

    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(steps, x, other))


def awd_lstm(cell: str, shape: Shape) -> Contenders:
    """Three layers with the dropouts of AWD-LSTM; in torch.nn three modules."""
    options = {"weight_dropout": 0.5, "input_dropout": 0.4, "dropout": 0.25, "locked_dropout": True, "num_layers": 3}
    layer, x = ours(cell, shape, **options), input_of(shape)
    others = nn.ModuleList([theirs(cell, shape), *(theirs(cell, shape._replace(I=shape.H)) for _ in range(2))])

    def modules(x: Tensor) -> tuple[Tensor]:
        for rate, other in zip((0.4, 0.25, 0.25), others, strict=True):
            x = with_dropped(other, 0.5, locked(x, rate))[0]
        return (x,)

    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape, num_layers=3), training(modules, x, others))
