"""What csrc/ops.cpp offers beside the operators in torch.ops.fastrnn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

def instruction_set() -> str: ...
def build_info() -> dict[str, Any]: ...
def fma_peak(threads: int) -> float: ...
def assume_cores(cores: int) -> None: ...
def activation_float(name: str, x: np.ndarray) -> np.ndarray: ...
def activation_double(name: str, x: np.ndarray) -> np.ndarray: ...
def infer(
    cell: str,
    input: Tensor,
    hx: Tensor | tuple[Tensor, Tensor] | None,
    weights: Sequence[Tensor],
    num_layers: int,
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Any] | None: ...
def infer_step(
    cell: str, input: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None, weights: Sequence[Tensor]
) -> Any: ...
