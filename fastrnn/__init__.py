"""Drop-in RNN, GRU and LSTM layers for PyTorch: the same numbers as torch.nn, computed by fused kernels.

Change ``torch.nn.LSTM`` to ``fastrnn.LSTM``, or call ``fastrnn.convert(model)``.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError as _NotInstalled
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn import cells as cells
    from fastrnn import functional, init, ops
    from fastrnn import nn as nn
    from fastrnn import reference as reference
    from fastrnn import word2vec as word2vec
    from fastrnn._cell.declaration import Cell
    from fastrnn._core.extension import _C as _C
    from fastrnn._detach import detach
    from fastrnn._environment import info
    from fastrnn._tbptt import tbptt
    from fastrnn.conversion import convert, converted, to_torch
    from fastrnn.nn import GRU, LSTM, RNN, GRUCell, LinearCrossEntropyLoss, LSTMCell, RNNCell
    from fastrnn.nn.user_cells import layer
    from fastrnn.quantization import dequantize, freeze, quantize
    from fastrnn.streaming import stream

try:
    __version__ = _version("fastrnn")
except _NotInstalled:
    _folder = __path__[0].removesuffix("fastrnn")
    raise ImportError(f"fastrnn is not installed. Type: pip install --editable {_folder}") from None
__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "GRUCell",
    "LSTMCell",
    "LinearCrossEntropyLoss",
    "RNNCell",
    "cells",
    "convert",
    "converted",
    "dequantize",
    "detach",
    "freeze",
    "functional",
    "info",
    "init",
    "layer",
    "ops",
    "quantize",
    "stream",
    "tbptt",
    "to_torch",
]

# Where each name is. It is imported when it is first asked for: fastrnn.word2vec does without torch, which takes a
# second and 190 MiB. No function has its module's name, for an import of the module would put that in its place.
_MODULES = ("cells", "functional", "init", "nn", "ops", "reference", "word2vec")
_HOMES = {
    **dict.fromkeys(("GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "LinearCrossEntropyLoss", "RNNCell"), "fastrnn.nn"),
    **dict.fromkeys(("convert", "converted", "to_torch"), "fastrnn.conversion"),
    **dict.fromkeys(("dequantize", "freeze", "quantize"), "fastrnn.quantization"),
    "Cell": "fastrnn._cell.declaration",
    "layer": "fastrnn.nn.user_cells",
    "stream": "fastrnn.streaming",
    "detach": "fastrnn._detach",
    "info": "fastrnn._environment",
    "tbptt": "fastrnn._tbptt",
    "_C": "fastrnn._core.extension",
}


if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"fastrnn.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'fastrnn' has no attribute {name!r}")
        globals()[name] = getattr(import_module(_HOMES[name]), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
