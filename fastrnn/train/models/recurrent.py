"""Recurrent layers with any cell, shared by the models of this package.

Regularisation is that of Gal & Ghahramani, 2016 (locked dropout) and Merity et al., 2018 (weight drop). Their masks are
drawn before the time loop, so the fused kernels can run it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fastrnn.nn.by_cell import LAYERS
from fastrnn.nn.inputs import each

State = Tensor | tuple[Tensor, Tensor]

CELLS = tuple(LAYERS)  # the first is the default of every model


class Recurrent(torch.nn.Module):
    """Stacked recurrent layers, time first.

    T steps, B sequences, I = ``input_size``, H = ``hidden_size``, L = ``num_layers``, D = 2 if ``bidirectional``, else
    1.

    Args:
        cell: one of ``CELLS``, such as "lstm", "gru" or "rnn_tanh".
        dropout: probability of zeroing an element between layers in training, as in torch.nn.
        locked_dropout: the same with one mask for all steps of a sequence (Gal & Ghahramani, 2016): of the input,
            between the layers and of the output. Three numbers set them separately.
        weight_drop: probability of zeroing an element of every W_hh in training, with one mask for all steps of a call
            (DropConnect, Merity et al., 2018).

    Call:
        ``output, state = recurrent(input, state=None, lengths=None)``: input (T, B, I), output (T, B, D H). A state is
        as in torch, h (L D, B, H), or (h, c) for LSTM; None is zeros. With ``lengths`` (B,), in any order, padding is
        not read, its output is 0, and the final state is the one at the length.

    ``layers`` are fastrnn's, so :func:`fastrnn.to_torch` turns them into torch.nn's.

    Raises:
        ValueError: the cell is unknown, a probability is not in [0, 1), or a length is not from 1 to T.
        RuntimeError: sizes or states do not match.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
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
        between = self.locked_dropout[1]
        if num_layers > 1 and between and dropout:
            raise ValueError(
                f"Expected only one kind of dropout between layers, got dropout={dropout} and locked_dropout={between}"
            )
        # One module for all layers, or one for each if there is something to do between them.
        make = partial(LAYERS[cell], bidirectional=bidirectional)
        if num_layers == 1 or not between:
            self.layers = torch.nn.ModuleList([make(input_size, hidden_size, num_layers, dropout=self._inner_dropout)])
        else:
            sizes = [input_size] + [self.output_size] * (num_layers - 1)
            self.layers = torch.nn.ModuleList(make(size, hidden_size) for size in sizes)

    @property
    def output_size(self) -> int:
        """D H: features of the output."""
        return self.hidden_size * self._directions

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _inner_dropout(self) -> float:
        return self.dropout if self.num_layers > 1 else 0.0  # torch.nn warns about dropout with a single layer

    def forward(self, input: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        if lengths is not None:
            lengths = _checked(lengths.cpu(), input)
        first, between, last = self.locked_dropout
        rates = [*[between] * (len(self.layers) - 1), last]
        output, states = locked(input, first, self.training), []
        for number, (layer, rate) in enumerate(zip(self.layers, rates, strict=True)):
            output, final = self._run(layer, output, self._part(state, number), lengths)
            output = locked(output, rate, self.training)
            states.append(final)
        return output, _joined(states)

    def _run(self, layer: Any, input: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        if lengths is None:
            return self._call(layer, input, state)
        packed = pack_padded_sequence(input, lengths, enforce_sorted=False)
        output, final = self._call(layer, packed, state)
        return pad_packed_sequence(output, total_length=input.size(0))[0], final

    def _call(self, layer: Any, input: Any, state: State | None) -> tuple[Any, State]:
        if not (self.training and self.weight_drop):
            return layer(input, state)
        weights = {
            name: dropout(weight, self.weight_drop)
            for name, weight in layer.named_parameters()
            if name.startswith("weight_hh")
        }
        return functional_call(layer, weights, (input, state))

    def _part(self, state: State | None, number: int) -> State | None:
        """The state of one of ``layers``."""
        if len(self.layers) == 1:
            return state
        start, rows = number * self._directions, self._directions
        return each(lambda whole: whole[start : start + rows], state)


def gate_rows(cell: str, hidden_size: int) -> int:
    """G H: rows of the weights of a cell with G gates."""
    layer: Any = Recurrent(cell, 1, hidden_size).layers[0]
    return layer.weight_ih_l0.size(0)


def locked(input: Tensor, rate: float, training: bool) -> Tensor:
    """Locked dropout of a sequence (T, B, F): one mask for all steps. Gal & Ghahramani, 2016."""
    if not (training and rate):
        return input
    return input * dropout(input.new_ones(1, *input.shape[1:]), rate)


def _checked(lengths: Tensor, input: Tensor) -> Tensor:
    steps, batch = input.shape[:2]
    if lengths.shape != (batch,):
        raise ValueError(f"Expected lengths of shape [{batch}] for a batch of {batch}, got shape {list(lengths.shape)}")
    wrong = ((lengths < 1) | (lengths > steps)).nonzero().flatten().tolist()
    if wrong:
        row = wrong[0]
        raise ValueError(f"Expected lengths from 1 to the {steps} steps of the input, got {lengths[row]} for row {row}")
    return lengths


def _joined(states: list[State]) -> State:
    if len(states) == 1:
        return states[0]
    if isinstance(states[0], Tensor):
        return torch.cat(states)  # type: ignore[arg-type]
    return tuple(torch.cat(parts) for parts in zip(*states, strict=True))  # type: ignore[return-value]


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
