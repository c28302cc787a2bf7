"""Quantization by torch.ao: its own modules take the place of fastrnn's layers, as they do of torch.nn's.

torch.ao.quantization looks layers up by their exact type, and offers no other way. So before it gives out its
configurations, the layers that it would quantize if they were torch.nn's become torch.nn's, in its copy of the model
or, with ``inplace=True``, in the model. All others stay fastrnn's.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from fastrnn.nn.face import Faced

_QUANTIZED = (torch.nn.GRU, torch.nn.LSTM, torch.nn.RNNCell, torch.nn.GRUCell, torch.nn.LSTMCell)


def _with_torchs_layers(propagate: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(propagate)
    def propagate_qconfig_(module: torch.nn.Module, qconfig_dict: Any = None, *rest: Any, **options: Any) -> None:
        layers = [m for m in module.modules() if issubclass(type(m), Faced) and m._twin in _QUANTIZED]
        layers = [m for m in layers if "_twin" in vars(type(m)) or is_parametrized(m)]  # of subclasses torch has none
        for layer in layers:
            if layer._twin in (qconfig_dict or {}):
                _become_torchs(layer)
        propagate(module, qconfig_dict, *rest, **options)
        for layer in layers:  # those that are configured by their names, or by the modules that they are in
            if issubclass(type(layer), Faced) and getattr(layer, "qconfig", None) is not None:
                _become_torchs(layer)

    return propagate_qconfig_


def _become_torchs(layer: torch.nn.Module) -> None:
    from fastrnn.conversion import to_torch  # which needs the layers

    try:
        to_torch(layer)
    except ValueError:
        warnings.warn(f"{layer} is not quantized: torch.nn has no module that computes the same", stacklevel=4)


def install() -> None:
    """Called once, when the layers are imported. Does nothing if torch has no torch.ao.quantization."""
    quantize: Any = sys.modules.get("torch.ao.quantization.quantize")
    if quantize is None:
        return
    wrapped = _with_torchs_layers(quantize.propagate_qconfig_)
    for name in ("torch.ao.quantization.quantize", "torch.ao.quantization", "torch.ao.quantization.fx.prepare"):
        if name in sys.modules:
            setattr(sys.modules[name], "propagate_qconfig_", wrapped)  # noqa: B010
