"""Who takes part in a row of bench/suites/user_cells.py: a layer of a user's cell, and others that compute the same.

Each is a function of the input (T, B, I) that returns the output (T, B, H). All have the weights of one layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, sigmoid, tanh
from torch._higher_order_ops import scan
from torch.nn.functional import linear

import fastrnn
from fastrnn import cells
from fastrnn._bench.work import Shape

OURS, COMPILED, BUILT = "fastrnn", "fastrnn, compile=True", "built in"
LOOP, LOOP_COMPILED, SCAN, SCAN_COMPILED = "loop", "loop, torch.compile", "scan", "scan, torch.compile"

Forward = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]


class LSTM(fastrnn.Cell):
    gates = "i f g o"
    state = "h c"

    def step(i, f, g, o, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(fastrnn.Cell):
    input_gates = "r z n"
    recurrent_gates = "r z q"

    def step(r, z, n, q, h):
        n = tanh(n + sigmoid(r) * q)
        return n + sigmoid(z) * (h - n)


CELLS: dict[str, type[fastrnn.Cell]] = {
    cell.__name__: cell
    for cell in (
        *(cells.Peephole, cells.SLSTM, cells.MGU, cells.LiGRU, cells.CIFG, cells.LayerNormLSTM, cells.TextbookGRU),
        *(LSTM, GRU),
    )
}
# The built-in layers with the same equations, and what they call a cell's vectors.
BUILT_IN: dict[str, Callable[..., Any]] = {
    "Peephole": partial(fastrnn.LSTM, peephole=True),
    "CIFG": partial(fastrnn.LSTM, coupled=True),
    "LSTM": fastrnn.LSTM,
    "GRU": fastrnn.GRU,
    "TextbookGRU": partial(fastrnn.GRU, reset_after=False),
}
VECTORS = {"p_i": "weight_ci", "p_f": "weight_cf", "p_o": "weight_co"}


def layer(cell: str, shape: Shape, **options: Any) -> Any:
    """The layer of a cell with the same weights at every call."""
    torch.manual_seed(0)
    return fastrnn.layer(CELLS[cell])(shape.I, shape.H, **options)


def compiles() -> bool:
    """Whether layers have compile=True, which compiles the step."""
    return "compile" in inspect.signature(fastrnn.layer(cells.Peephole)).parameters


def built_in(cell: str, shape: Shape) -> Any:
    made = BUILT_IN[cell](shape.I, shape.H)
    weights = layer(cell, shape).state_dict()
    if "u_l0" in weights:  # the last block of W_hh, with a bias
        weights["weight_hh_l0"] = torch.cat([weights["weight_hh_l0"], weights.pop("u_l0")])
        weights["bias_hh_l0"] = torch.cat([weights["bias_hh_l0"], torch.zeros(shape.H)])
    names = {name: name.removesuffix("_l0") for name in weights}
    made.load_state_dict({f"{VECTORS.get(kind, kind)}_l0": weights[name] for name, kind in names.items()})
    return made


class InPlainTorch:
    """A layer's step as a function of torch: as one writes it, and what the loop and the scan run."""

    def __init__(self, layer: Any) -> None:
        self.cell = cell = layer.cell.declaration
        self.hidden = layer.hidden_size
        self.w_ih, self.w_hh, self.b_ih, self.b_hh = (
            getattr(layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.others = tuple(getattr(layer, f"{name}_l0") for name in cell.vectors)
        self.others += tuple(partial(linear, weight=getattr(layer, f"{name}_l0")) for name in cell.matrices)
        names = (*cell.gates, *cell.states, *cell.vectors, *cell.matrices)
        self.places = [names.index(name) for name in cell.taken]
        self.summed = cell.input_gates == cell.recurrent_gates

    def begin(self, x: Tensor) -> States:
        return tuple(x.new_full((x.size(1), self.hidden), value) for value in self.cell.states.values())

    def products(self, x: Tensor) -> Tensor:
        """W_ih x + b_ih of all steps, (T, B, G H); b_hh too where each gate is the sum of both products."""
        return linear(x, self.w_ih, self.b_ih + self.b_hh if self.summed else self.b_ih)

    def step(self, product: Tensor, states: States) -> States:
        cell = self.cell
        if self.summed:
            gates = torch.addmm(product, states[0], self.w_hh.t()).chunk(len(cell.gates), 1)
        else:
            of = dict(zip(cell.input_gates, product.chunk(len(cell.input_gates), 1), strict=True))
            recurrent = linear(states[0], self.w_hh, self.b_hh).chunk(len(cell.recurrent_gates), 1)
            for name, part in zip(cell.recurrent_gates, recurrent, strict=True):
                of[name] = of[name] + part if name in of else part
            gates = tuple(of[name] for name in cell.gates)
        values = (*gates, *states, *self.others)
        new = cell.step(*[values[place] for place in self.places])
        return new if isinstance(new, tuple) else (new,)


def loop(layer: Any) -> Forward:
    """The step in a loop over time in Python, with the product of the input before it."""
    plain = InPlainTorch(layer)

    def run(x: Tensor) -> Tensor:
        states, outputs = plain.begin(x), []
        for product in plain.products(x).unbind():
            states = plain.step(product, states)
            outputs.append(states[0])
        return torch.stack(outputs)

    return run


def scanned(layer: Any) -> Forward:
    """The step in torch's scan, a prototype in torch 2.13."""
    plain = InPlainTorch(layer)

    def run(x: Tensor) -> Tensor:
        def combine(states: States, product: Tensor) -> tuple[States, Tensor]:
            new = plain.step(product, states)
            return new, new[0].clone()  # results may not share memory

        return scan(combine, plain.begin(x), plain.products(x))[1]

    return run


def saved(cell: str) -> tuple[int, int | None]:
    """Numbers that a training step saves of each unit and step beside h, by the cell and by the built-in layer."""
    from fastrnn._cell.programs import programs
    from fastrnn._core.cells import CELLS as built_in_cells

    saving = programs(CELLS[cell].declaration).saving
    own = len(saving.saved) + len(saving.states)
    return own, None if cell not in BUILT_IN else built_in_cells[BUILT_IN[cell](1, 1)._cell].saves
