"""The kinks of ReLU: on which side of zero a sum comes out, where rounding may take it to either.

Such a unit is on in one right computation and off in another, and what depends on its derivative jumps. Which side the
layer took is seen in the output of the last layer; there the reference takes the same. In the layers below a coin
decides, and the next run has the same units the other way round, so that each is wrong in every second run. Other
units never turn: a layer that turns one of those is wrong.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fastrnn._verify.problem import Problem

_RELU = torch.ops.aten.relu.default


@dataclass(frozen=True)
class Kink:
    """What one ReLU reads, at one step of the reference."""

    doubtful: Tensor  # whether rounding may take a sum to the other side of zero
    on: Tensor | None  # on which side the layer has it; None where its output does not show it


class PreActivations(TorchDispatchMode):
    """Keeps what every ReLU reads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is _RELU:
            self.found.append(args[0].detach())
        return func(*args, **(kwargs or {}))


class Sides(TorchDispatchMode):
    """Within it the doubtful units are on the layer's side, or where that is not known on a coin's.

    Runs 2n and 2n + 1 have opposite coins. Without a run those units stay as they are.
    """

    def __init__(self, kinks: Sequence[Kink], run: int | None = None) -> None:
        super().__init__()
        self.kinks, self.run = iter(kinks), run
        self.coins = torch.Generator().manual_seed((run or 0) // 2)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is _RELU:
            args = (self.turned(args[0], next(self.kinks)),)
        return func(*args, **(kwargs or {}))

    def turned(self, sums: Tensor, kink: Kink) -> Tensor:
        on = kink.on
        if on is None and self.run is None:
            return sums
        if on is None:
            on = (torch.rand(sums.shape, generator=self.coins) < 0.5) ^ bool((self.run or 0) % 2)
        return torch.where(kink.doubtful, torch.where(on, sums.abs(), -sums.abs()), sums)


def kinks_of(problem: Problem, output: Tensor, rounding: Callable[[], AbstractContextManager]) -> list[Kink]:
    """The kinks of a problem, in the order in which the reference comes to them; none without a ReLU.

    Rounding reaches as far as it moves the farthest of the sums of a step.
    """
    if "relu" not in problem.case.cell:
        return []
    with PreActivations() as exact:
        problem.by_reference(torch.float64)
    with rounding(), PreActivations() as moved:
        problem.by_reference(torch.float64)
    taken = sides_taken(problem, output)
    below = [None] * (len(exact.found) - len(taken))
    return [
        Kink(sums.abs() <= (sums - others).abs().max(), on)
        for sums, others, on in zip(exact.found, moved.found, [*below, *taken], strict=True)
    ]


def sides_taken(problem: Problem, output: Tensor) -> list[Tensor]:
    """Which units of the last layer are on, step by step, one direction after the other."""
    steps = output.unbind() if problem.batch_sizes is None else output.split(problem.batch_sizes.tolist())
    directions = 2 if problem.case.shape.bidirectional else 1
    forwards, *backwards = ([step.chunk(directions, 1)[d] > 0 for step in steps] for d in range(directions))
    return forwards + [on for reverse in backwards for on in reversed(reverse)]
