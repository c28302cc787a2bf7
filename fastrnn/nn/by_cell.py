"""The layer of every cell, for code that is told a cell by its name, such as ``fastrnn verify`` and the models of
fastrnn.train."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastrnn.nn.base import Layer
from fastrnn.nn.layers import GRU, LSTM, RNN

LAYERS: dict[str, Callable[..., Layer]] = {
    "lstm": LSTM,
    "gru": GRU,
    "gru_reset_before": partial(GRU, reset_after=False),
    "rnn_tanh": partial(RNN, nonlinearity="tanh"),
    "rnn_relu": partial(RNN, nonlinearity="relu"),
    "rnn_sigmoid": partial(RNN, nonlinearity="sigmoid"),
}
