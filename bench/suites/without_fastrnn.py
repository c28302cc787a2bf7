"""What the options of bench/suites/features.py are without fastrnn: loops over steps of torch, and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import dropout, layer_norm, linear


def loop(cell: Callable[[Tensor, Any], Any], x: Tensor, before: Callable[[int, Any], Any] | None = None) -> list[Any]:
    """The states of a cell after every step. ``before`` is given t and the state, and returns what step t reads."""
    state, states = None, []
    for t, step in enumerate(x):
        if before is not None and state is not None:
            state = before(t, state)
        state = cell(step, state)
        states.append(state)
    return states


def times(mask: Tensor, state: Any) -> Any:
    """A state, h or (h, c), times a mask."""
    return tuple(mask * part for part in state) if isinstance(state, tuple) else mask * state


def zoned(cell: Callable[[Tensor, Any], Any], rate: float) -> Callable[[Tensor, Any], Any]:
    """A cell each number of whose state keeps its old value with this probability."""

    def step(x: Tensor, state: Any) -> Any:
        new = cell(x, state)
        before = [torch.zeros_like(part) for part in parts_of(new)] if state is None else parts_of(state)
        kept = [torch.where(torch.rand_like(n) < rate, o, n) for o, n in zip(before, parts_of(new), strict=True)]
        return tuple(kept) if isinstance(new, tuple) else kept[0]

    return step


def parts_of(state: Any) -> tuple[Tensor, ...]:
    """(h, c), or (h,)."""
    return state if isinstance(state, tuple) else (state,)


def hidden(state: Any) -> Tensor:
    return parts_of(state)[0]


def with_dropped(layer: Any, rate: float, x: Tensor) -> Any:
    """A call of torch.nn's layer with dropout of weight_hh."""
    return functional_call(layer, {"weight_hh_l0": dropout(layer.weight_hh_l0, rate)}, (x,))


def locked(x: Tensor, rate: float) -> Tensor:
    return x * dropout(x.new_ones(1, *x.shape[1:]), rate)


def normalized(x: Tensor, gain: Tensor, bias: Tensor | None = None) -> Tensor:
    return layer_norm(x, x.shape[-1:], gain, bias)


def layer_norm_lstm(w: dict[str, Tensor], x: Tensor, dropped: float = 0.0, kept: float = 0.0) -> tuple[Tensor]:
    """With recurrent dropout and zoneout at these rates."""
    zeros = x.new_zeros(x.size(1), w["weight_hh"].size(1))
    mask = dropout(torch.ones_like(zeros), dropped) if dropped else None

    def cell(step: Tensor, state: Any) -> Any:
        h, c = state or (zeros, zeros)
        read = h if mask is None else mask * h
        i, f, g, o = (step + normalized(linear(read, w["weight_hh"]), w["weight_norm_hh"])).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * normalized(c, w["weight_norm_c"], w["bias_norm_c"]).tanh(), c

    products = normalized(linear(x, w["weight_ih"]), w["weight_norm_ih"], w["bias_ih"] + w["bias_hh"])
    states = loop(zoned(cell, kept) if kept else cell, products)
    return (torch.stack([hidden(state) for state in states]),)


def layer_norm_gru(w: dict[str, Tensor], x: Tensor) -> tuple[Tensor]:
    h = x.new_zeros(x.size(1), w["weight_hh"].size(1))
    outputs = []
    for step in normalized(linear(x, w["weight_ih"]), w["weight_norm_ih"], w["bias_ih"]):
        x_r, x_z, x_n = step.chunk(3, dim=1)
        products = normalized(linear(h, w["weight_hh"]), w["weight_norm_hh"], w["bias_hh"])
        h_r, h_z, h_n = products.chunk(3, dim=1)
        n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
        h = n + (x_z + h_z).sigmoid() * (h - n)
        outputs.append(h)
    return (torch.stack(outputs),)
