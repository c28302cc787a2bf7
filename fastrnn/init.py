"""How recurrent weights begin, where torch's U(-1/sqrt(H), 1/sqrt(H)) is not what a task wants.

Each function changes, in place, a layer or a cell, or all of them inside a model, torch.nn's and fastrnn's alike, and
returns it. Random numbers are torch's, from the default generator or from ``generator``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from fastrnn import reference
from fastrnn._inside import cell_of, heads_of, layers_and_cells
from fastrnn._numbers import finite

__all__ = ["chrono_", "forget_bias_", "identity_", "orthogonal_"]

Module = TypeVar("Module", bound=torch.nn.Module)


@torch.no_grad()
def orthogonal_(module: Module, gain: float = 1.0, generator: torch.Generator | None = None) -> Module:
    """Every gate's W_hh becomes a random orthogonal matrix, times ``gain``: all its singular values are ``gain``.

    Saxe, McClelland and Ganguli, 2014, arXiv:1312.6120. Of a projected LSTM the columns are orthonormal. With several
    heads the matrix of each is orthogonal.

    Raises:
        TypeError: ``module`` is not a module, or ``gain`` not a number.
        ValueError: there is no layer or cell in it, or ``gain`` is not finite.
    """
    finite("gain", gain)
    for _, layer in layers_and_cells(module):
        for weight in _named(layer, "weight_hh"):
            for block in weight.chunk(reference.CELLS[cell_of(layer)].gates * heads_of(layer)):
                exact = block.new_empty(block.shape, dtype=torch.promote_types(block.dtype, torch.float32))
                block.copy_(torch.nn.init.orthogonal_(exact, gain, generator))
    return module


@torch.no_grad()
def identity_(module: Module, scale: float = 1.0) -> Module:
    """W_hh becomes ``scale`` times the identity, and biases 0: with ReLU the IRNN of Le, Jaitly and Hinton, 2015.

    arXiv:1504.00941. A non-negative h_t is then copied from step to step, and so is its gradient.

    Raises:
        TypeError: ``module`` is not a module, or ``scale`` not a number.
        ValueError: a layer or cell has gates, there is none, or ``scale`` is not finite.
    """
    finite("scale", scale)
    for _, layer in _suiting(module, lambda cell: cell.gates == 1, "identity_ is for RNN layers and cells"):
        for weight in _named(layer, "weight_hh"):
            for block in weight.chunk(heads_of(layer)):
                torch.nn.init.eye_(block).mul_(scale)
        for bias in _named(layer, "bias"):
            bias.zero_()
    return module


@torch.no_grad()
def forget_bias_(module: Module, value: float = 1.0) -> Module:
    """Sets the bias of the gate that keeps the state: LSTM's forget gate and GRU's update gate z.

    Where one gate both keeps and takes in (``LSTM(coupled=True)``, f = 1 - i) its bias is -``value``. The sum of the
    two biases, b_ih + b_hh, is ``value``: b_ih is, and b_hh is 0.

    With 1 an LSTM remembers from the start (Gers, Schmidhuber and Cummins, 2000; Jozefowicz et al., 2015); with
    log(T - 1) for about T steps (Tallec and Ollivier, 2018).

    Raises:
        TypeError: ``module`` is not a module, or ``value`` not a number.
        ValueError: a layer or cell has no gates or no biases, there is none, or ``value`` is not finite.
    """
    finite("value", value)
    for layer, cell in _gated(module, "forget_bias_"):
        for bias_ih, bias_hh in _biases(layer):
            _set_gate(cell.keeps, bias_ih, bias_hh, cell.gates, value)
    return module


@torch.no_grad()
def chrono_(module: Module, longest: float, generator: torch.Generator | None = None) -> Module:
    """Chrono initialisation: units remember for different times, of up to ``longest`` steps.

    The forget gate's bias is drawn from log U(1, longest - 1), the input gate's is its negative; of GRU the update gate
    z takes both parts. C. Tallec and Y. Ollivier, 2018, Can recurrent neural networks warp time?, arXiv:1804.11188.

    Args:
        longest: T_max, the longest dependency in the data, in steps.

    Raises:
        TypeError: ``module`` is not a module, or ``longest`` not a number.
        ValueError: ``longest`` is less than 2 or not finite, a layer or cell has no gates or no biases, or there is
            none.
    """
    if finite("longest", longest) < 2:
        raise ValueError(f"Expected longest, the longest dependency in steps, to be at least 2, got {longest}")
    for layer, cell in _gated(module, "chrono_"):
        for bias_ih, bias_hh in _biases(layer):
            units = bias_ih.size(0) // cell.gates
            times = torch.empty(units, device=bias_ih.device).uniform_(1, longest - 1, generator=generator)
            _set_gate(cell.keeps, bias_ih, bias_hh, cell.gates, times.log())
            if cell.takes_in is not None:
                _set_gate((cell.takes_in, 1), bias_ih, bias_hh, cell.gates, -times.log())
    return module


def _set_gate(gate: Any, bias_ih: Tensor, bias_hh: Tensor, gates: int, value: float | Tensor) -> None:
    """Give a gate, (its number, its sign), a bias: all of it is in ``bias_ih``."""
    number, sign = gate
    bias_ih.chunk(gates)[number].copy_(torch.as_tensor(value) * sign)
    bias_hh.chunk(gates)[number].zero_()


def _gated(module: torch.nn.Module, name: str) -> Iterator[tuple[Any, reference.Cell]]:
    """The layers and cells inside a module, all of which have gates and biases, and what kind each is."""
    found = _suiting(module, lambda cell: cell.keeps is not None, f"{name} is for LSTM and GRU layers and cells")
    for _, layer in found:
        if not layer.bias:
            raise ValueError(f"{name} needs biases, got {type(layer).__name__} with bias=False")
    yield from ((layer, reference.CELLS[cell_of(layer)]) for _, layer in found)


def _suiting(module: torch.nn.Module, suits: Callable[[reference.Cell], bool], what: str) -> list[tuple[str, Any]]:
    found = layers_and_cells(module)
    for name, layer in found:
        if not suits(reference.CELLS[cell_of(layer)]):
            raise ValueError(f"{what}, got one of {cell_of(layer)}" + (f": {name}" if name else ""))
    return found


def _named(layer: Any, start: str) -> Iterator[Tensor]:
    """The parameters whose names begin like this."""
    return (parameter for name, parameter in layer.named_parameters() if name.startswith(start))


def _biases(layer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """b_ih and b_hh of every layer and direction."""
    return zip(_named(layer, "bias_ih"), _named(layer, "bias_hh"), strict=True)
