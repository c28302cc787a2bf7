"""States cut from the graph that computed them."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

from torch import Tensor

T = TypeVar("T")


def detach(state: T) -> T:
    """A state with its tensors detached: backpropagation through time ends there.

    Args:
        state: a tensor, None, or tuples, named tuples, lists and dictionaries of states, nested in any way. Numbers,
            strings and bools stay as they are.

    Returns:
        the same structure. Tensors share their memory with those given.

    Raises:
        TypeError: something else is in it, whose tensors would stay in the graph.

    Example:
        >>> output, state = lstm(chunk, fastrnn.detach(state))
    """
    if isinstance(state, Tensor):
        return state.detach()  # type: ignore[return-value]
    if isinstance(state, tuple | list):
        parts: Any = [detach(part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
    if isinstance(state, dict):
        changed: Any = copy(state)  # of its own type
        for name, part in state.items():
            changed[name] = detach(part)
        return changed
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise TypeError(
        f"Expected a state of tensors, tuples, lists and dictionaries, got a {type(state).__name__} in it; "
        "detach its tensors yourself"
    )
