"""The recurrent layers and cells inside a module, torch.nn's and fastrnn's alike."""

from __future__ import annotations

from typing import Any

import torch


def recurrent_layers(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """The names and layers of every RNN, GRU and LSTM inside a module, itself included.

    Raises:
        TypeError: ``module`` is not a module.
        ValueError: there is none.
    """
    return _of(module, torch.nn.RNNBase, "RNN, GRU or LSTM layer")


def layers_and_cells(module: torch.nn.Module) -> list[tuple[str, Any]]:
    """The same of layers and cells."""
    return _of(module, (torch.nn.RNNBase, torch.nn.RNNCellBase), "RNN, GRU or LSTM layer or cell")


def cell_of(module: Any) -> str:
    """The name of the cell of a layer, or of a cell itself, as :data:`fastrnn.reference.CELLS` has it."""
    if name := getattr(module, "_cell", None):
        return name
    if isinstance(module, torch.nn.RNNBase):
        return module.mode.lower()  # such as RNN_TANH
    torchs = next(cls.__name__ for cls in type(module).__mro__ if cls.__module__ == torch.nn.RNNCellBase.__module__)
    name = torchs.removesuffix("Cell").lower()
    return f"{name}_{module.nonlinearity}" if hasattr(module, "nonlinearity") else name


def heads_of(module: Any) -> int:
    """How many heads a layer has; a cell has one, and so does every module of torch.nn."""
    return module.heads if "heads" in getattr(module, "_beyond_torch", ()) else 1


def _of(module: torch.nn.Module, kinds: Any, what: str) -> list[tuple[str, Any]]:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"Expected a torch.nn.Module, got {type(module).__name__}")
    found = [(name, each) for name, each in module.named_modules() if isinstance(each, kinds)]
    if not found:
        raise ValueError(f"Expected a module with an {what}, got {type(module).__name__}, which has none")
    return found
