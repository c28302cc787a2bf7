"""How recurrent weights begin, where torch's U(-1/sqrt(H), 1/sqrt(H)) is not what a task wants.

Each function changes all recurrent layers inside a module, torch.nn's and fastrnn's alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn import reference


def recurrent_layers(module: nn.Module) -> Iterator[tuple[str, nn.RNNBase]]:
    """The names and layers of every RNN, GRU and LSTM inside a module, itself included."""
    found = [(name, each) for name, each in module.named_modules() if isinstance(each, nn.RNNBase)]
    if not found:
        raise ValueError(f"{type(module).__name__} contains no RNN, GRU or LSTM layer")
    yield from found


def cell_of(layer: Any) -> str:
    """The name of a layer's cell, one of ``recurrent.CELLS``."""
    return getattr(layer, "_cell", None) or layer.mode.lower()  # torch.nn's have a mode, such as RNN_TANH


def identity(module: nn.Module, scale: float = 1.0) -> None:
    """W_hh = ``scale`` times the identity, and no bias: with ReLU the IRNN of Le, Jaitly and Hinton, 2015.

    A non-negative h_t is then copied from step to step, and so is its gradient.

    Raises:
        ValueError: a layer has gates.
    """
    for layer in _checked(module, lambda cell: cell.gates == 1, "identity is for RNN layers"):
        for weight in _named(layer, "weight_hh"):
            nn.init.eye_(weight).mul_(scale)
        for bias in _named(layer, "bias"):
            bias.zero_()


def orthogonal(module: nn.Module, gain: float = 1.0) -> None:
    """Every gate's W_hh is orthogonal, times ``gain``: Saxe, McClelland and Ganguli, 2014."""
    for _, layer in recurrent_layers(module):
        for weight in _named(layer, "weight_hh"):
            for gate in weight.split(layer.hidden_size):
                nn.init.orthogonal_(gate, gain)


def forget_bias(module: nn.Module, value: float = 1.0) -> None:
    """Sets the bias of the gate that keeps the state: LSTM's forget gate and GRU's update gate z.

    Where one gate both keeps and takes in (``LSTM(coupled=True)``, f = 1 - i) its bias is -``value``.

    With 1 an LSTM remembers from the start (Gers, Schmidhuber and Cummins, 2000; Jozefowicz et al., 2015); with
    log(T - 1) for about T steps (Tallec and Ollivier, 2018). The sum of the two biases, b_ih and b_hh, is set.

    Raises:
        ValueError: a layer has no gates or no biases.
    """
    for layer in _checked(module, lambda cell: cell.keeps is not None, "forget_bias is for LSTM and GRU layers"):
        if not layer.bias:
            raise ValueError("forget_bias needs layers with biases, got bias=False")
        gate, sign = reference.CELLS[cell_of(layer)].keeps  # type: ignore[misc]
        kept = slice(gate * layer.hidden_size, (gate + 1) * layer.hidden_size)
        for bias in _named(layer, "bias_ih"):
            bias[kept] = sign * value
        for bias in _named(layer, "bias_hh"):
            bias[kept] = 0


def _checked(module: nn.Module, suits: Callable[[reference.Cell], bool], what: str) -> list[nn.RNNBase]:
    layers = [layer for _, layer in recurrent_layers(module)]
    for layer in layers:
        if not suits(reference.CELLS[cell_of(layer)]):
            raise ValueError(f"{what}, got a layer of {cell_of(layer)}")
    return layers


def _named(layer: nn.RNNBase, start: str) -> Iterator[Tensor]:
    """The parameters whose names begin like this, to be changed in place."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith(start):
                yield parameter
