"""torch.nn's recurrent modules to fastrnn's and back, in place.

A module changes its class and nothing else: it stays the very object that optimizers, hooks, handles and other modules
hold, with its parameters, buffers, attributes and mode. The two classes keep the same things under the same names, so
there is nothing to copy.
"""

from __future__ import annotations

import warnings

import torch

from fastrnn import nn

_FROM_TORCH: dict[type, type] = {
    torch.nn.RNN: nn.RNN,
    torch.nn.GRU: nn.GRU,
    torch.nn.LSTM: nn.LSTM,
    torch.nn.RNNCell: nn.RNNCell,
    torch.nn.GRUCell: nn.GRUCell,
    torch.nn.LSTMCell: nn.LSTMCell,
}
_TO_TORCH = {ours: theirs for theirs, ours in _FROM_TORCH.items()}


def convert(model: torch.nn.Module) -> torch.nn.Module:
    """Make every RNN, GRU, LSTM and cell of torch.nn in ``model``, itself included, run fastrnn's kernels.

    The model is changed in place and returned. Parameters stay the same objects, so an optimizer made before stays
    right. A module of a derived class (of the user, or one with parametrizations, for which torch derives a class) or
    with a ``forward`` of its own is left as it is, since its code may rely on torch's; a UserWarning names it.

    Raises:
        TypeError: ``model`` is not a module.

    Example:
        >>> model = fastrnn.convert(torch.nn.Sequential(torch.nn.LSTM(8, 16)))
        >>> model[0]
        LSTM(8, 16)
    """
    for module in _to_change(model, _FROM_TORCH):
        module.__class__ = _FROM_TORCH[type(module)]
        if isinstance(module, nn.RNN):
            module.nonlinearity = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[module.mode]  # torch computes by the mode
        elif isinstance(module, (nn.GRU, nn.GRUCell)):
            module.reset_after = True
    return model


def to_torch(model: torch.nn.Module) -> torch.nn.Module:
    """Turn every fastrnn layer and cell in ``model``, or it itself, into torch.nn's: the way back of :func:`convert`.

    In place and with the same exceptions. ``recompute`` is forgotten: it changes no number.

    Raises:
        ValueError: a module has no twin in torch.nn: ``nonlinearity="sigmoid"`` or ``reset_after=False``. The message
            names all of them, and nothing has been changed.
        TypeError: ``model`` is not a module.
    """
    modules = _to_change(model, _TO_TORCH)
    names = {module: name for name, module in model.named_modules()}
    alone = [f"{names[m] or 'the model itself'}: {m}" for m in modules if not _torch_has(m)]
    if alone:
        raise ValueError("Expected modules that torch.nn has, got " + ", ".join(alone))
    for module in modules:
        module.__class__ = _TO_TORCH[type(module)]
        for ours in ("reset_after", "recompute"):
            module.__dict__.pop(ours, None)
    return model


def _torch_has(module: torch.nn.Module) -> bool:
    return getattr(module, "nonlinearity", "tanh") != "sigmoid" and getattr(module, "reset_after", True)


def _to_change(model: torch.nn.Module, classes: dict[type, type]) -> list[torch.nn.Module]:
    """The modules of exactly these classes; a warning names those that are only derived from them."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"Expected a torch.nn.Module, got {type(model).__name__}")
    change, leave = [], []
    for name, module in model.named_modules():
        if type(module) in classes and "forward" not in module.__dict__:
            change.append(module)
        elif issubclass(type(module), tuple(classes)):
            leave.append(f"{name or 'the model itself'} ({type(module).__name__})")
    if leave:
        warnings.warn(
            f"left as they are, for they are of derived classes or have a forward of their own: {', '.join(leave)}",
            stacklevel=3,
        )
    return change
