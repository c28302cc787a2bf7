"""Subclasses of torch.nn's layers and cells, on fastrnn's kernels: for ``convert(model, derived=True)``.

A user's ``class Mine(torch.nn.LSTM)`` gets a subclass whose ancestors are Mine, fastrnn.LSTM and torch.nn.LSTM, in
this order. All that Mine defines stays in force, and where its ``forward`` calls ``super().forward`` that is fastrnn's.
"""

from __future__ import annotations

import copyreg
import inspect
from functools import cache
from typing import Any

import torch

from fastrnn.nn.base import CALLED_BY_TORCH


def why_not(module: torch.nn.Module, theirs: type, ours: type) -> str | None:
    """Why an instance of a subclass of ``theirs`` cannot run the kernels of ``ours``, or None if it can."""
    mro = type(module).__mro__
    users = mro[: mro.index(theirs)]
    for cls in users:
        forward = inspect.unwrap(vars(cls).get("forward", theirs.forward))  # type: ignore[attr-defined]
        names = getattr(getattr(forward, "__code__", None), "co_names", ())
        if "forward" in vars(cls) and not {"super", "forward"} <= set(names):
            return "its forward does not call super().forward(), so fastrnn's kernels would not run"
    defined = {*vars(module), *(name for cls in users for name in vars(cls))}
    own = {name for cls in ours.__mro__ if cls.__module__.startswith("fastrnn.") for name in vars(cls)}
    own = {name for name in own if not hasattr(theirs, name)} - {"stream"}  # a method that nothing calls by itself
    if clash := sorted(defined & (CALLED_BY_TORCH | own | {"__getattr__", "__getattribute__"})):
        return f"it defines {', '.join(clash)}, which fastrnn would ignore or replace; rename or remove"
    try:
        subclass(type(module), theirs, ours)  # type: ignore[arg-type]
    except TypeError as error:
        return f"its class cannot be subclassed ({error})"
    return None


@cache
def subclass(cls: type, theirs: type, ours: type) -> type:
    """The subclass of ``cls``, itself a subclass of ``theirs``, that runs the kernels of ``ours``."""
    base = type(theirs.__name__, (ours, theirs), {"__init__": theirs.__init__})  # type: ignore[misc]
    namespace = {
        **{name: vars(cls).get(name) for name in ("__module__", "__doc__")},
        "__qualname__": cls.__qualname__,
        "__reduce_ex__": _reduce,
        "_derived_from": cls,
        "_how": (theirs, ours),
    }
    return type(cls)(cls.__name__, (cls, base), namespace)


def origin(cls: type) -> type | None:
    """The class that :func:`subclass` was given, or None for any other class."""
    return vars(cls).get("_derived_from")


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle by the class of the user, since this one has no name of its own."""
    cls = type(self)
    words = super(cls, self).__reduce_ex__(protocol)
    if words[0] is copyreg._reconstructor:  # type: ignore[attr-defined]
        words = (_remake, (cls._derived_from, *cls._how), *words[2:])
    return words


def _remake(cls: type, theirs: type, ours: type) -> Any:
    return object.__new__(subclass(cls, theirs, ours))
