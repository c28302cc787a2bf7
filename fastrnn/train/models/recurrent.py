"""Recurrent layers with any cell, shared by the models of this package.

Regularisation is that of Gal & Ghahramani, 2016 (locked dropout) and Merity et al., 2018 (weight drop).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fastrnn import reference
from fastrnn._core.masks import drop, kept
from fastrnn.nn.by_cell import LAYERS

State = Tensor | tuple[Tensor, Tensor]

CELLS = tuple(LAYERS)  # the first is the default of every model


class Recurrent(torch.nn.Module):
    """Stacked recurrent layers, time first.

    T steps, B sequences, I = ``input_size``, H = ``hidden_size``, L = ``num_layers``, D = 2 if ``bidirectional``, else
    1.

    Args:
        cell: one of ``CELLS``, such as "lstm", "gru" or "rnn_tanh".
        hidden_size: H, or a list with the size of each layer. Then a state is a tuple with a tensor for each layer, for
            LSTM a pair of such tuples, and H is the size of the last layer.
        dropout: probability of zeroing an element between layers in training, as in torch.nn.
        locked_dropout: the same with one mask for all steps of a sequence (Gal & Ghahramani, 2016): of the input,
            between the layers and of the output. Three numbers set them separately.
        weight_drop: probability of zeroing an element of every W_hh in training, with one mask for all steps of a call
            (DropConnect, Merity et al., 2018).

    Call:
        ``output, state = recurrent(input, state=None, lengths=None)``: input (T, B, I), output (T, B, D H). A state is
        as in torch, h (L D, B, H), or (h, c) for LSTM; None is zeros. With ``lengths`` (B,), in any order, padding is
        not read, its output is 0, and the final state is the one at the length.

    ``layers`` is one module of fastrnn with all of them, which :func:`fastrnn.to_torch` turns into torch.nn's if there
    is no locked dropout and no weight drop.

    Raises:
        ValueError: the cell is unknown, a probability is not in [0, 1), or a length is not from 1 to T.
        RuntimeError: sizes or states do not match.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        locked_dropout: float | tuple[float, float, float] = 0.0,
        weight_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in LAYERS:
            raise ValueError(f"Expected cell to be one of {', '.join(CELLS)}, got {cell!r}")
        self.cell, self.input_size, self.hidden_size, self.num_layers = cell, input_size, hidden_size, num_layers
        self.bidirectional, self.dropout = bidirectional, _probability("dropout", dropout)
        self.locked_dropout = three_rates(locked_dropout)
        self.weight_drop = _probability("weight_drop", weight_drop)
        first, between, _ = self.locked_dropout
        if num_layers > 1 and dropout and (first or between):
            raise ValueError(
                f"Expected only one kind of dropout in front of and between layers, got dropout={dropout} and "
                f"locked_dropout={locked_dropout}"
            )
        self.layers = LAYERS[cell](
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout or between if num_layers > 1 else 0.0,  # torch.nn warns about dropout with a single layer
            input_dropout=first,
            locked_dropout=bool(first or between),
            weight_dropout=weight_drop,
        )

    @property
    def output_size(self) -> int:
        """D H: features of the output."""
        last = self.hidden_size if isinstance(self.hidden_size, int) else self.hidden_size[-1]
        return last * (2 if self.bidirectional else 1)

    def forward(self, input: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        if lengths is None:
            output, final = self.layers(input, state)
        else:
            packed = pack_padded_sequence(input, _checked(lengths.cpu(), input), enforce_sorted=False)
            output, final = self.layers(packed, state)
            output = pad_packed_sequence(output, total_length=input.size(0))[0]
        return locked(output, self.locked_dropout[2], self.training), final

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Reads state dicts of earlier versions too, with a list of modules: ``layers.1.weight_hh_l0``."""
        for name in [name for name in state_dict if name.startswith(prefix)]:
            if found := re.fullmatch(r"layers\.(\d+)\.(.*_l)(\d+)(_reverse)?", name[len(prefix) :]):
                module, weight, layer, reverse = found.groups(default="")
                number = int(module) + int(layer)
                state_dict[f"{prefix}layers.{weight}{number}{reverse}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def gate_rows(cell: str, hidden_size: int) -> int:
    """G H: rows of the weights of a cell with G gates."""
    return reference.CELLS[cell].gates * hidden_size


def locked(input: Tensor, rate: float, training: bool) -> Tensor:
    """Locked dropout of a sequence (T, B, F): one mask for all steps. Gal & Ghahramani, 2016."""
    if not (training and rate):
        return input
    return drop(input, rate, kept((1, *input.shape[1:]), rate, input.device))


def _checked(lengths: Tensor, input: Tensor) -> Tensor:
    steps, batch = input.shape[:2]
    if lengths.shape != (batch,):
        raise ValueError(f"Expected lengths of shape [{batch}] for a batch of {batch}, got shape {list(lengths.shape)}")
    wrong = ((lengths < 1) | (lengths > steps)).nonzero().flatten().tolist()
    if wrong:
        row = wrong[0]
        raise ValueError(f"Expected lengths from 1 to the {steps} steps of the input, got {lengths[row]} for row {row}")
    return lengths


def _probability(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"Expected {name} to be a probability in [0, 1), got {value}")
    return value


def three_rates(locked_dropout: float | tuple[float, float, float]) -> tuple[float, float, float]:
    rates = (locked_dropout,) * 3 if isinstance(locked_dropout, (int, float)) else tuple(locked_dropout)
    if len(rates) != 3:
        raise ValueError(f"Expected locked_dropout to be one number or three (input, between, output), got {rates}")
    for rate in rates:
        _probability("locked_dropout", rate)
    return rates
