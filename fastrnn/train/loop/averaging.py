"""Averages weights over steps (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The running mean of parameters: mean_n = mean_(n-1) + (w_n - mean_(n-1)) / n."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.means: list[Tensor] = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Include the current weights."""
        self.count += 1
        torch._foreach_lerp_(self.means, [parameter.detach() for parameter in self.parameters], 1 / self.count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it, the model has the averaged weights, if any steps were averaged."""
        if self.count == 0:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for parameter, mean in zip(self.parameters, self.means, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)

    def state(self) -> dict[str, object]:
        return {"count": self.count, "means": self.means if self.count else []}

    def restore(self, state: dict[str, object]) -> None:
        self.count = int(state["count"])  # type: ignore[call-overload]
        for mean, kept in zip(self.means, state["means"], strict=False):  # type: ignore[call-overload]
            mean.copy_(kept)
