"""Drop-in RNN, GRU and LSTM layers for PyTorch: the same numbers as torch.nn, computed by fused kernels.

Change ``torch.nn.LSTM`` to ``fastrnn.LSTM``, or call ``fastrnn.convert(model)``.
"""

import torch

from fastrnn._built import torch_version as _built_against


def _check_torch() -> None:
    """A binary built against another torch would fail to load, or worse: say so first."""

    def minor(version: str) -> list[str]:
        return version.split(".")[:2]

    if minor(torch.__version__) != minor(_built_against):
        raise ImportError(
            f"fastrnn was built against torch {_built_against} but runs under torch {torch.__version__}. "
            "Build it again: pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation fastrnn "
            "(in a checkout: pip install --no-build-isolation .)"
        )


_check_torch()

from importlib.metadata import version as _version  # noqa: E402

from fastrnn import functional, ops  # noqa: E402
from fastrnn.convert import convert, to_torch  # noqa: E402
from fastrnn.info import info  # noqa: E402
from fastrnn.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell  # noqa: E402

__version__ = _version("fastrnn")
__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "convert", "functional", "info", "ops", "to_torch"]
