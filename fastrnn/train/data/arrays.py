"""Batches of arrays whose items have one shape."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fastrnn.train.data import order
from fastrnn.train.data.batch import Labelled


class Arrays:
    """Batches of inputs and their labels, shuffled in an order that depends on the seed and the number of the epoch.

    Args:
        inputs: N sequences: ids (N, T) or numbers (N, T, F); or N pictures (N, H, W), one row per step. They may be
            memory-mapped; then only one batch is in memory.
        labels: (N,) integers, or (N, F) numbers.
        batch: items in a batch, B; the last may be smaller.
        pixels: read items one number per step: input (H * W, B, 1). Sequential MNIST has T = 784.
        permuted: seed of one permutation of the steps for all items, as in permuted sequential MNIST.
        scale: factor of the numbers in a batch, such as 1/255 for pictures in bytes.
        seed: of the order.
        shuffle: False keeps the order of the items, for evaluation.

    Raises:
        ValueError: there are no items, or the number of labels differs.
        TypeError: the arrays have other shapes.
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any,
        batch: int,
        *,
        pixels: bool = False,
        permuted: int | None = None,
        scale: float | None = None,
        seed: int = 0,
        shuffle: bool = True,
    ) -> None:
        self.inputs, self.labels = _numbers(inputs, "inputs"), _numbers(labels, "labels")
        if self.inputs.ndim < 2 or (self.inputs.ndim > 3 and not pixels) or self.labels.ndim not in (1, 2):
            raise TypeError(
                "expected inputs (N, T), (N, T, F) or pictures (N, H, W), and labels (N,) or (N, F); "
                f"got shapes {self.inputs.shape} and {self.labels.shape}"
            )
        if len(self.inputs) != len(self.labels) or len(self.inputs) == 0:
            raise ValueError(
                f"expected one label for each item, got {len(self.inputs)} items and {len(self.labels)} labels"
            )
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._ids = self.inputs.ndim == 2 and not pixels
        if self._ids and (self.inputs.dtype.kind == "f" or scale is not None):
            raise TypeError(
                "inputs (N, T) must be integer ids; for one number at each step give (N, T, 1): inputs[..., None]"
            )
        if self.labels.ndim == 1 and self.labels.dtype.kind == "f":
            raise TypeError("labels (N,) must be integers; for numbers give (N, 1): labels[:, None]")
        self.batch, self.pixels, self.scale, self.seed, self.shuffle = batch, pixels, scale, seed, shuffle
        steps = self.inputs[0].size if pixels else self.inputs.shape[1]
        self.permutation = None if permuted is None else np.random.default_rng(permuted).permutation(steps)

    def __len__(self) -> int:
        return math.ceil(len(self.inputs) / self.batch)

    def epoch(self, number: int) -> Iterator[Labelled]:
        number_type = torch.get_default_dtype()
        for places in order.drawn(len(self.inputs), self.batch, self.seed, number, self.shuffle):
            inputs, labels = self.inputs[places], self.labels[places]
            if self.pixels:
                inputs = inputs.reshape(len(places), -1, 1)
            if self.permutation is not None:
                inputs = inputs[:, self.permutation]
            steps = torch.from_numpy(np.ascontiguousarray(inputs.swapaxes(0, 1)))
            steps = steps.long() if self._ids else steps.to(number_type)
            if self.scale is not None:
                steps = steps * self.scale
            target = torch.from_numpy(labels).to(torch.int64 if labels.ndim == 1 else number_type)
            yield Labelled(steps, None, target)

    def __iter__(self) -> Iterator[Labelled]:
        return self.epoch(0)


def _numbers(values: Any, name: str) -> np.ndarray:
    array = np.asanyarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.dtype.kind not in "iubf":
        raise TypeError(f"{name} must be numbers, got {array.dtype} of shape {array.shape}")
    return array
