"""How far back a loss reaches: the gradient of the loss with respect to the state of every step.

dLoss/dh_t is the sum over all paths, through the output of step t and through all later states. Fused layers compute it
but do not keep it, so here they run step by step in plain torch: the same function, as in :mod:`fastrnn.reference`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from fastrnn import reference
from fastrnn._core.call import Call
from fastrnn._core.cells import named
from fastrnn._core.dropping import before_layers, between_layers, drops_between
from fastrnn._inside import cell_of, recurrent_layers
from fastrnn.nn.base import Layer
from fastrnn.nn.inputs import each
from fastrnn.train.loop.evaluation import Loss, checked, loss_of

KNOWN = (nn.RNN.forward, nn.GRU.forward, nn.LSTM.forward, Layer.forward)  # the layers that reference.py can compute
States = dict[str, list[Tensor]]  # of each layer and direction, in the order of time


@dataclass(frozen=True)
class GradientFlow:
    """The norm of the gradient of a loss with respect to each state.

    Attributes:
        loss: of the batch.
        h: for each layer, such as "recurrent.layers l0", the norms (T,) of dLoss/dh_t, over batch and features.
        c: likewise of dLoss/dc_t, of LSTM layers.
    """

    loss: float
    h: dict[str, Tensor]
    c: dict[str, Tensor]

    def plot(self, file: Any = None) -> Any:
        """Draw the norms over t with a line for each layer, and write the picture to a file if one is given.

        Returns:
            matplotlib's Figure.
        """
        from fastrnn.train.flow.comparison import plot

        return plot({"": self}, file)


def gradient_flow(model: nn.Module, batch: Any, *, loss: Loss | None = None) -> GradientFlow:
    """The norm of dLoss/dh_t for every step t, for LSTM also of dLoss/dc_t, of all recurrent layers inside a model.

    Args:
        model: any module that contains an RNN, GRU or LSTM of torch.nn or fastrnn; ``model.eval()`` first measures
            without dropout. The model and the gradients of its parameters do not change. The steps of a layer that is
            called several times follow one another.
        batch: the argument of its loss.
        loss: a function (model, batch, state) -> Step instead of the model's method.

    Raises:
        ValueError: there is no recurrent layer, none was called, or one is of a subclass that overrides forward.
    """
    with torch.enable_grad(), stepwise(model) as (h, c):
        step = checked(loss_of(model, loss)(model, batch, None))
    if not h:
        raise ValueError(f"the loss of {type(model).__name__} did not call any of its recurrent layers")
    states = [state for by_layer in (h, c) for layer in by_layer.values() for state in layer]
    gradients = torch.autograd.grad(step.loss, states, allow_unused=True)
    norms = iter([0.0 if g is None else float(torch.linalg.vector_norm(g)) for g in gradients])
    h_norms, c_norms = (
        {name: torch.tensor([next(norms) for _ in layer], dtype=torch.float64) for name, layer in by_layer.items()}
        for by_layer in (h, c)
    )
    return GradientFlow(float(step.loss.detach()), h_norms, c_norms)


@contextmanager
def stepwise(model: nn.Module) -> Iterator[tuple[States, States]]:
    """Within it the recurrent layers of a model run step by step and record all h_t and c_t in the two tables."""
    h: States = defaultdict(list)
    c: States = defaultdict(list)
    layers = dict(recurrent_layers(model))
    for layer in layers.values():
        if type(layer).forward not in KNOWN or "forward" in vars(layer):
            raise ValueError(f"{type(layer).__name__} overrides forward, so gradient_flow cannot run it step by step")
        if not isinstance(layer.hidden_size, int):
            raise ValueError(
                f"Expected layers of one hidden size, got {list(layer.hidden_size)}; use a module for each"
            )
    try:
        for name, layer in layers.items():
            layer.forward = _forward(name, layer, h, c)
        yield h, c
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)


def _forward(name: str, layer: Any, h: States, c: States) -> Callable[..., Any]:
    """A layer's forward for every kind of input, over :func:`_sequence`."""

    def forward(input: Any, hx: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            data, batch_sizes, to_sorted, to_callers = input
            if to_sorted is not None:
                hx = each(lambda state: state[:, to_sorted], hx)
            output, final = _sequence(name, layer, data.split(batch_sizes.tolist()), hx, h, c)
            if to_callers is not None:
                final = each(lambda state: state[:, to_callers], final)
            return PackedSequence(torch.cat(output), batch_sizes, to_sorted, to_callers), final
        if input.dim() == 2:
            output, final = forward(input.unsqueeze(layer.batch_first ^ 1), each(lambda state: state.unsqueeze(1), hx))
            return output.squeeze(layer.batch_first ^ 1), each(lambda state: state.squeeze(1), final)
        time = 1 if layer.batch_first else 0
        output, final = _sequence(name, layer, input.unbind(time), hx, h, c)
        return torch.stack(output, time), final

    return forward


def _sequence(
    name: str, layer: Any, steps: Sequence[Tensor], hx: Any, h: States, c: States
) -> tuple[list[Tensor], Any]:
    """All layers and directions over the steps of a batch, whose rows may become fewer from step to step."""
    cell, directions = cell_of(layer), 2 if layer.bidirectional else 1
    carries_c = reference.CELLS[cell].carries_c
    number = directions * layer.num_layers
    if hx is None:
        sizes = (layer.proj_size or layer.hidden_size, layer.hidden_size)
        zeros = [steps[0].new_zeros(number, len(steps[0]), size) for size in sizes]
        hx = zeros if carries_c else zeros[0]
    h_0, c_0 = hx if carries_c else (hx, [None] * number)
    final_h, final_c = [], []
    rows = [len(step) for step in steps]
    call = before_layers(_call_of(layer, cell, torch.cat(list(steps)), rows))
    output, count = list(call.input.split(rows)), call.weights_per_direction()
    for depth in range(layer.num_layers):
        if depth and drops_between(call):
            output = list(between_layers(call, torch.cat(output)).split(rows))
        sides = []
        for reverse in range(directions):
            i = depth * directions + reverse
            w: list[Any] = [weight.to(output[0].dtype) for weight in call.weights[i * count : (i + 1) * count]]
            if not layer.bias:
                w[2:2] = [None, None]
            h_t, c_t, last_h, last_c = _direction(cell, output, h_0[i], c_0[i], w, bool(reverse))
            place = f"{name} l{depth}{'_reverse' if reverse else ''}".strip()
            h[place] += h_t
            if carries_c:
                c[place] += c_t
            sides.append(h_t)
            final_h.append(last_h)
            final_c.append(last_c)
        output = [torch.cat(both, 1) for both in zip(*sides, strict=True)]
    if carries_c:
        return output, (torch.stack(final_h), torch.stack(final_c))
    return output, torch.stack(final_h)


def _call_of(layer: Any, cell: str, input: Tensor, batch_sizes: list[int]) -> Call:
    """A layer's call of packed input, for its dropout."""
    return Call(
        named(cell),
        input,
        None,
        None,
        [getattr(layer, weight) for weights in layer._all_weights for weight in weights],
        batch_sizes=torch.tensor(batch_sizes),
        biases=layer.bias,
        projected=layer.proj_size > 0,
        bidirectional=layer.bidirectional,
        training=layer.training,
        num_layers=layer.num_layers,
        dropout=layer.dropout,
        **{name: getattr(layer, name) for name in Call._fields if name.endswith("_dropout") and hasattr(layer, name)},
    )


def _direction(
    cell: str, steps: Sequence[Tensor], h: Any, c: Any, w: Sequence[Any], reverse: bool
) -> tuple[list[Tensor], list[Tensor], Tensor, Any]:
    """The states of all steps in the order of time, and the last ones.

    Later steps use the returned tensors themselves, so the gradient of each is the sum over all paths.
    """
    h_t: list[Any] = [None] * len(steps)
    c_t: list[Any] = [None] * len(steps)
    h, c = (None if state is None else _watched(state) for state in (h, c))
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        n = len(steps[t])
        h_t[t], c_t[t] = reference.step(cell, steps[t], h[:n], None if c is None else c[:n], w)
        h = torch.cat([h_t[t], h[n:]])
        c = None if c is None else torch.cat([c_t[t], c[n:]])
    return h_t, c_t, h, c


def _watched(state: Tensor) -> Tensor:
    """An initial state that requires a gradient: then all states have one, even with frozen weights."""
    return state if state.requires_grad else state.detach().requires_grad_()
