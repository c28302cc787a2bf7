"""What a call must satisfy before a kernel sees it. Every message gives what was expected and what came.

The exception types are those that torch.nn raises for the same mistake. The shapes of the weights among themselves are
not checked here but by whatever runs the layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor


def check_sequence(
    cell: str,
    input: Tensor,
    states: Sequence[Tensor | None],
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
) -> None:
    """Check the arguments of a whole stack of layers; shapes as in :func:`fastrnn.functional.lstm`."""
    rows = num_layers * (2 if bidirectional else 1)
    per_direction = 4 if biases else 2
    if len(weights) != rows * per_direction and not (cell == "lstm" and len(weights) == rows * (per_direction + 1)):
        raise RuntimeError(f"Expected {rows * per_direction} weights for {num_layers} layers, got {len(weights)}")
    rank = 3 if batch_sizes is None else 2
    shape = input.shape
    if len(shape) != rank:
        raise RuntimeError(f"Expected input to have {rank} dimensions, got {len(shape)}: {list(shape)}")
    if input.dtype != weights[0].dtype and (input.is_cpu or not autocasts(input)):
        raise ValueError(f"Expected input of the weights' dtype {weights[0].dtype}, got {input.dtype}")
    _check_features(input, weights[0])
    _check_kind(input, weights, states)
    if batch_sizes is None:
        steps, batch = (shape[1], shape[0]) if batch_first else (shape[0], shape[1])
        if steps == 0:
            raise RuntimeError(f"Expected a sequence of at least one step, got input of shape {list(shape)}")
    elif torch.compiler.is_compiling():
        return  # the batch size is data here, and a traced graph cannot branch on data
    else:
        batch = check_batch_sizes(batch_sizes, shape[0])
    for i, state in enumerate(states):
        if state is not None:
            _check_state(state, (rows, batch, _features(weights, i)), i)


def check_step(cell: str, input: Tensor, states: Sequence[Tensor | None], weights: Sequence[Tensor]) -> None:
    """Check the arguments of one step of a cell: input (B, I), states (B, H)."""
    if input.dim() != 2:
        raise RuntimeError(f"Expected input to have 2 dimensions, got {input.dim()}: {list(input.shape)}")
    _check_features(input, weights[0])
    _check_kind(input, weights, states)
    for i, state in enumerate(states):
        if state is not None:
            _check_state(state, (input.shape[0], weights[1].shape[1]), i)


def check_batch_sizes(batch_sizes: Tensor, rows: int) -> int:
    """Check the ``batch_sizes`` of packed data with so many rows; return the batch size."""
    if batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or not batch_sizes.is_cpu:
        raise RuntimeError(
            "Expected batch_sizes to be int64, of 1 dimension and on the CPU, "
            f"got {batch_sizes.dtype}, {batch_sizes.dim()} dimensions, {batch_sizes.device}"
        )
    sizes = batch_sizes.tolist()
    if not sizes:
        raise IndexError("Expected batch_sizes of at least one step, got none")
    if sizes[-1] < 1 or any(later > earlier for earlier, later in itertools.pairwise(sizes)):
        raise RuntimeError(f"Expected batch_sizes that are positive and never rise, got {sizes}")
    if sum(sizes) != rows:
        raise RuntimeError(f"Expected packed data of {sum(sizes)} rows, the sum of batch_sizes, got {rows}")
    return sizes[0]


def autocasts(input: Tensor) -> bool:
    """Whether torch.autocast is on for the device of ``input``; the meta device has no such state."""
    return not input.is_meta and torch.is_autocast_enabled(input.device.type)


def _features(weights: Sequence[Tensor], state: int) -> int:
    """Features of h (state 0: columns of w_hh) or of an LSTM's c (state 1: a quarter of its rows)."""
    return weights[1].shape[1] if state == 0 else weights[1].shape[0] // 4


def _check_features(input: Tensor, w_ih: Tensor) -> None:
    if input.shape[-1] != w_ih.shape[1]:
        raise RuntimeError(
            f"Expected input.size(-1) to be input_size {w_ih.shape[1]}, got {input.shape[-1]} in {list(input.shape)}"
        )


def _check_state(state: Tensor, expected: tuple[int, ...], i: int) -> None:
    if state.shape != expected:
        raise RuntimeError(f"Expected {('hidden', 'cell')[i]} state of size {list(expected)}, got {list(state.shape)}")


def _check_kind(input: Tensor, weights: Sequence[Tensor], states: Sequence[Tensor | None]) -> None:
    """One device and one dtype for all. Where torch's own operator runs under autocast, it does the casting."""
    device, dtype, on_cpu = input.device, input.dtype, input.is_cpu
    for tensor in (*weights, *states):
        if tensor is None:
            continue
        # On the CPU is_cpu says it all, at a quarter of the cost of comparing devices.
        if not (on_cpu and tensor.is_cpu) and tensor.device != device:
            raise RuntimeError(f"Expected weights and states on the input's device {device}, got {tensor.device}")
        if tensor.dtype != dtype and (on_cpu or not autocasts(input)):
            raise RuntimeError(f"Expected weights and states of the input's dtype {dtype}, got {tensor.dtype}")
