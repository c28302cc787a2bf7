"""A stack whose layers have different hidden sizes: one call for each. Their states do not fit into one tensor, so a
state is a tuple with one for each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fastrnn._core.call import Call, States
from fastrnn._core.dropping import between_layers, drops_between


def unequal(run: Callable[[Call], tuple[Any, ...]], call: Call, hx: Any) -> tuple[Any, ...]:
    """Run all layers of a call, whose own states are not given, by ``run``.

    Args:
        hx: a tuple of each layer's h_0 (D, B, H of the layer), or the pair of such tuples (h_0, c_0) where the cell
            carries c; None for zeros.

    Returns:
        the last layer's output, and the final states, like hx; with ``every_state`` those after every step, whose h and
        c are tuples of each layer's (T, B, D H of the layer).

    Raises:
        RuntimeError: hx is no such tuple.
    """
    states = [(None, None)] * call.num_layers if hx is None else _of_each_layer(call, hx)
    per_layer = call.directions() * call.weights_per_direction()
    output, found, every = call.input, [], []
    for i, (h, c) in enumerate(states):
        weights = call.weights[i * per_layer : (i + 1) * per_layer]
        layer = call.with_tensors(output, h, c, weights)._replace(num_layers=1, dropout=0.0)
        output, state, *states_after = run(layer if i == 0 else layer._replace(input_dropout=0.0))
        if drops_between(call) and i < call.num_layers - 1:
            output = between_layers(call, output)
        found.append(state)
        every += states_after
    final = tuple(zip(*found, strict=True)) if call.cell.carries_c else tuple(found)
    if not every:
        return output, final
    of_h: Any = tuple(states.h[0] for states in every)
    of_c: Any = tuple(states.c[0] for states in every) if call.cell.carries_c else None
    return output, final, States(of_h, of_c)


def _of_each_layer(call: Call, hx: Any) -> list[tuple[Tensor, Tensor | None]]:
    """h_0 and c_0 of each layer."""
    parts = hx if call.cell.carries_c else (hx,)
    kinds = ("h_0", "c_0") if call.cell.carries_c else ("h_0",)
    fits = isinstance(parts, list | tuple) and len(parts) == len(kinds)
    fits = fits and all(isinstance(part, list | tuple) and len(part) == call.num_layers for part in parts)
    if not fits or not all(isinstance(state, Tensor) for part in parts for state in part):
        tuples = " and ".join(f"a tuple {kind} of {call.num_layers} tensors" for kind in kinds)
        raise RuntimeError(
            f"Expected hx to be {'a pair, ' if len(kinds) > 1 else ''}{tuples}, one for each layer, since each has its "
            f"own hidden size, got {_described(hx)}"
        )
    return list(zip(*parts, strict=True)) if call.cell.carries_c else [(h, None) for h in parts[0]]


def _described(hx: Any) -> str:
    if isinstance(hx, Tensor):
        return f"a tensor of size {list(hx.shape)}"
    if isinstance(hx, list | tuple):
        return f"a {type(hx).__name__} of {', '.join(map(_described, hx))}"
    return f"a {type(hx).__name__}"
