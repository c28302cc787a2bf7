"""The layer of every cell, for code that is told a cell by its name, such as ``fastrnn verify`` and the models of
fastrnn.train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastrnn.nn.base import Layer
from fastrnn.nn.layers import GRU, LSTM, RNN

LAYERS: dict[str, Callable[..., Layer]] = {
    cell: partial(layer, **options) if options else layer
    for layer in (LSTM, GRU, RNN)
    for cell, options in layer._cells.items()
}
