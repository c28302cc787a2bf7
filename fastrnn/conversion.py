"""torch.nn's recurrent modules to fastrnn's and back, in place.

A module changes its class and nothing else: it stays the very object that optimizers, hooks, handles and other modules
hold, with its parameters, buffers, attributes and mode. The two classes keep the same things under the same names, so
there is nothing to copy.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.utils.parametrize import is_parametrized

from fastrnn import _unconverted, nn
from fastrnn._core.backend import TORCH_CELLS
from fastrnn.nn import derived as subclasses
from fastrnn.nn.face import Faced
from fastrnn.nn.layers import RNN_MODES
from fastrnn.nn.options import OPTIONS, Changes, for_modules

_FROM_TORCH: dict[type, type] = {
    torch.nn.RNN: nn.RNN,
    torch.nn.GRU: nn.GRU,
    torch.nn.LSTM: nn.LSTM,
    torch.nn.RNNCell: nn.RNNCell,
    torch.nn.GRUCell: nn.GRUCell,
    torch.nn.LSTMCell: nn.LSTMCell,
}
_TO_TORCH = {ours: theirs for theirs, ours in _FROM_TORCH.items()}
_REPLACED = "its forward was replaced; del module.forward first"


def convert(model: torch.nn.Module, *, derived: bool = False, **options: Any) -> torch.nn.Module:
    """Make every RNN, GRU, LSTM and cell of torch.nn in ``model``, itself included, run fastrnn's kernels.

    The model is changed in place and returned. Parameters stay the same objects, so an optimizer made before stays
    right. ``isinstance(module, torch.nn.LSTM)`` stays true, ``type(module) is torch.nn.LSTM`` does not. In code that
    torch.compile traces, ask for one class at a time: with a tuple of classes, isinstance is false there.

    A UserWarning names what was skipped and why: subclasses and modules whose ``forward`` was replaced, as their code
    may rely on torch's; layers in a plain list or dictionary, which torch does not see either; layers that torch.jit
    has compiled. It also says if there is nothing to convert.

    A module that is made later is torch.nn's: what ``torch.load`` or ``from_pretrained`` returns, or a ``clone()`` that
    constructs. Convert the result, or construct it within :func:`converted`. Copies and pickles stay converted.

    Args:
        derived: convert subclasses too, if their ``forward`` is torch's or calls ``super().forward()``. All that they
            define stays in force, and torch.compile breaks its graph at them as before.
        options: of fastrnn's layers, such as ``recompute=True`` or ``weight_dropout=0.5``, for all of them that have
            the option, also those that were fastrnn's before. A UserWarning names those that do not have it. An option
            that changes parameters is refused, because they stay what they are.

    Raises:
        TypeError: ``model`` is not a module, there is no such option, or its value is of another type.
        ValueError: an option changes parameters, is out of range, or no layer of the model has it. Nothing was changed.

    Example:
        >>> model = fastrnn.convert(torch.nn.Sequential(torch.nn.LSTM(8, 16)))
        >>> model[0]
        LSTM(8, 16)
    """
    modules, skipped = _unconverted.recurrent(model, (*_FROM_TORCH, Faced)), {}
    classes = {name: type(m) if isinstance(m, Faced) else _converted_class(m, derived) for name, m in modules}
    given, lacking = for_modules(options, {name: found for name, found in classes.items() if isinstance(found, type)})
    for name, module in modules:
        found = classes[name]
        if isinstance(found, str):
            skipped[name] = f"{type(module).__name__}: {found}"
            continue
        for option, value in given[name].items():
            setattr(module, option, value)
        if not isinstance(module, Faced):
            module.__class__ = found
            if isinstance(module, torch.nn.RNN):  # torch computes by the mode
                module.nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[module.mode]
    if lacking:
        warnings.warn(f"fastrnn.convert left {', '.join(lacking)}", stacklevel=2)
    told = _unconverted.warn("convert", model, tuple(_FROM_TORCH), skipped)
    if not modules and not told:
        _unconverted.warn_of_nothing(model, tuple(_FROM_TORCH))
    return model


def to_torch(model: torch.nn.Module) -> torch.nn.Module:
    """Turn every fastrnn layer and cell in ``model``, or it itself, into torch.nn's: the way back of :func:`convert`.

    In place and with the same exceptions. ``recompute`` is forgotten: it changes no number.

    Raises:
        ValueError: torch.nn lacks a module's cell, as with ``nonlinearity="sigmoid"``, ``reset_after=False``,
            ``peephole`` or ``coupled``, its dropout, such as ``weight_dropout``, its zoneout, its learned initial state
            or its heads. The message names all of them, and nothing has been changed.
        TypeError: ``model`` is not a module.
    """
    changes, skipped, alone = [], {}, []
    for name, module in _unconverted.recurrent(model, (Faced,)):
        found = _class_of_torch(module)
        if isinstance(found, str):
            skipped[name] = f"{type(module).__name__}: {found}"
        elif _torch_has(module) and not _own_dropout(module) and isinstance(module.hidden_size, int):
            changes.append((module, found))
        else:
            alone.append(f"{name}: {module}")
    if alone:
        raise ValueError(
            f"torch.nn has no module that computes the same as {', '.join(alone)}; nothing was changed. For inference "
            "alone, first set dropout that torch.nn lacks to its default, such as layer.weight_dropout = 0.0"
        )
    for module, found in changes:
        if isinstance(module, nn.RNN):
            module.mode = RNN_MODES[module.nonlinearity]
        beyond_torch: Any = module._beyond_torch
        module.__class__ = found
        for option in beyond_torch:
            module.__dict__.pop(option, None)
    _unconverted.warn("to_torch", model, (Faced,), skipped)
    return model


@contextmanager
def converted() -> Iterator[None]:
    """Within it, ``torch.nn.LSTM(...)`` and its siblings make fastrnn's layers and cells.

    For models that other code constructs: ``with fastrnn.converted(): model = load(...)``. It applies to this thread or
    task only, may be nested, and ends with the block, also by an exception. Subclasses, and modules that are unpickled
    or copied, stay what they are; use :func:`convert` for those.
    """
    _watch_construction()
    token = _within.set(True)
    try:
        yield
    finally:
        _within.reset(token)


_within: ContextVar[bool] = ContextVar("fastrnn.converted", default=False)


@cache
def _watch_construction() -> None:
    """Registered once and never removed: doing either while other threads construct modules is not safe in torch."""

    def change(module: torch.nn.Module, name: str, parameter: Any) -> None:
        # A module's first parameter: it is being constructed, and what follows is the same in both classes.
        if type(module) in _FROM_TORCH and _within.get() and not module._parameters:
            module.__class__ = _FROM_TORCH[type(module)]

    register_module_parameter_registration_hook(change)


def _converted_class(module: torch.nn.Module, derived: bool) -> type | str:
    """The class of fastrnn that a module of torch.nn is given, or why it is skipped."""
    cls = type(module)
    theirs = next(base for base in cls.__mro__ if base in _FROM_TORCH)
    ours = _FROM_TORCH[theirs]
    if "forward" in module.__dict__:
        return _REPLACED
    if cls is theirs:
        return ours
    if is_parametrized(module):
        return _rebased(cls, theirs, ours)
    if not derived:
        return "subclass; try convert(model, derived=True)"
    return subclasses.why_not(module, theirs, ours) or subclasses.subclass(cls, theirs, ours)  # type: ignore[arg-type]


def _class_of_torch(module: torch.nn.Module) -> type | str:
    """The class of torch.nn that a module of fastrnn is given, or why it is skipped."""
    cls = type(module)
    if "forward" in module.__dict__:
        return _REPLACED
    if original := subclasses.origin(cls):
        return original
    if cls in _TO_TORCH:
        return _TO_TORCH[cls]
    ours = next(base for base in cls.__mro__ if base in _TO_TORCH)
    if is_parametrized(module):
        return _rebased(cls, ours, _TO_TORCH[ours])
    return f"subclass of fastrnn.{ours.__name__}; derive from torch.nn.{ours.__name__}"


def _rebased(cls: type, old: type, new: type) -> type | str:
    """The class that torch.nn.utils.parametrize would have derived from ``new``, not from ``old``."""
    if cls.__bases__ != (old,):
        return "parametrized subclass; convert it before it is parametrized"
    members = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__", "_face")}
    return type(cls.__name__, (new,), members)


def _own_dropout(module: Any) -> list[str]:
    """The options of a module by which it trains as no module of torch.nn does."""
    training = (name for name in module._beyond_torch if OPTIONS[name].changes is Changes.TRAINING)
    return [name for name in training if getattr(module, name) != getattr(type(module), name)]


def _torch_has(module: Any) -> bool:
    """Whether torch.nn computes what this module does."""
    if getattr(module, "heads", 1) != 1:
        return False
    if any(getattr(module, option, False) for option in ("learn_initial_state", "zoneout_h", "zoneout_c")):
        return False
    try:
        return module._cell in TORCH_CELLS
    except RuntimeError:  # an RNNCell whose nonlinearity neither knows fails when it is called, in torch.nn too
        return True
