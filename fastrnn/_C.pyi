"""What csrc/torch/module.cpp offers beside the operators in torch.ops.fastrnn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

def cells() -> dict[str, dict[str, Any]]: ...
def instruction_set() -> str: ...
def build_info() -> dict[str, Any]: ...
def fma_peak(threads: int) -> float: ...
def assume_cores(cores: int) -> None: ...
def quota_cores(root: str) -> int: ...
def dissolve_teams(meeting: int | None) -> None: ...
def activation_float(name: str, x: np.ndarray) -> np.ndarray: ...
def activation_double(name: str, x: np.ndarray) -> np.ndarray: ...
def run_layer(
    cell: str, input: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None, layer: dict[str, Any], type: type
) -> tuple[Tensor, Any] | None: ...
def flat_weights(layer: dict[str, Any]) -> list[Tensor] | None: ...
def infer_packed(
    input: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None, layer: dict[str, Any]
) -> tuple[Tensor, Any] | None: ...
def infer_packed_step(input: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None, cell: dict[str, Any]) -> Any: ...

class Program:
    def __init__(
        self,
        instructions: list[tuple[int, int, int, int, int, float, float]],
        inputs: int,
        outputs: int,
        temporaries: int,
        rows: int = 0,
        numbers: int = 0,
        cuts: Sequence[tuple[int, int]] = (),
    ) -> None: ...
    def run_float(self, inputs: list[np.ndarray]) -> list[np.ndarray]: ...
    def run_double(self, inputs: list[np.ndarray]) -> list[np.ndarray]: ...

class CellKernel:
    def __init__(
        self,
        inference: Program,
        forward: Program,
        backward: Program,
        recurrent_gates: int,
        input_slots: list[int],
        gates: int,
        states: int,
        vectors: int,
        per_step: int,
        saves: int,
        reads_h: bool,
        reads_y: bool,
        stored: list[int],
    ) -> None: ...
    def forward(
        self, operands: tuple[Any, ...], training: bool, keep: list[bool], ragged: bool
    ) -> tuple[list[Tensor], list[Tensor | None], Tensor]: ...
    def backward(
        self,
        operands: tuple[Any, ...],
        every: list[Tensor | None],
        saved: Tensor,
        d_every: list[Tensor | None],
        d_last: list[Tensor | None],
        needed: list[bool],
        ragged: bool,
    ) -> tuple[list[Tensor | None], Tensor, list[Tensor]]: ...

class Stream:
    state: Any
    def __init__(self, stages: list[tuple[Any, ...]], batch_size: int, single: bool, watched: list[Tensor]) -> None: ...
    @property
    def batch_size(self) -> int: ...
    def __call__(self, input: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def reset(self, mask: Tensor | None = None) -> None: ...

def run_step(
    cell: str, input: Tensor, hx: Tensor | tuple[Tensor, Tensor] | None, weights: list[Tensor], biases: bool
) -> Any: ...
