"""All that changes while a model trains, in one place, so that one can save it and go on from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fastrnn.train.averaging import Average
from fastrnn.train.evaluation import batches_of
from fastrnn.train.result import better
from fastrnn.train.schedules import Schedule
from fastrnn.train.step import Step


class Run:
    """A training between two of its steps."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: Schedule, device: torch.device) -> None:
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.device = device
        self.average = Average(model)
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.epoch = 0  # finished
        self.batch = 0  # read of the epoch that is going on
        self.step = 0  # of the optimizer, over all epochs
        self.state: Any = None  # carried into the next batch
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)  # of the epoch's items
        self.norm: Tensor | float = 0.0
        self.epoch_items = 0
        self.items = 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.seconds = 0.0
        self.epoch_seconds = 0.0
        self._clock = monotonic()

    def groups(self, data: Any, size: int) -> Iterator[list[Any]]:
        """The rest of the epoch, in groups of batches whose gradients make one step. None is read ahead of its step."""
        batches = islice(batches_of(data, self.epoch, self.device), self.batch, None)
        while group := list(islice(batches, size)):
            yield group
            self.batch += len(group)

    def count(self, step: Step) -> None:
        """Add a batch to the epoch's figures. They stay on the device: reading them would make the CPU wait."""
        self.loss_sum += step.loss.detach().double() * step.items
        self.epoch_items += step.items
        self.items += step.items

    def update(self, scaler: torch.amp.GradScaler) -> None:
        """One step of the optimizer, at the schedule's learning rate."""
        multiplier = self.schedule.multiplier(self.step, self.epoch + 1)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.schedule.averages:
            self.average.update()

    def tick(self) -> None:
        """Add the time since the last tick to the run's."""
        now = monotonic()
        self.seconds += now - self._clock
        self.epoch_seconds += now - self._clock
        self._clock = now

    def row(self, figures: dict[str, float], **more: Any) -> dict[str, Any]:
        """The history's row of the epoch so far."""
        self.tick()
        row = {
            "epoch": self.epoch + 1,
            "step": self.step,
            "train_loss": float(self.loss_sum) / max(1, self.epoch_items),
            "lr": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(self.norm),
            "seconds": round(self.epoch_seconds, 3),
            "items_per_second": round(self.epoch_items / max(self.epoch_seconds, 1e-9), 1),
        }
        return row | {f"valid_{name}": value for name, value in figures.items()} | more

    def keep_if_best(self, row: dict[str, Any], monitor: str) -> bool:
        """Keep a copy of the weights if this row is the best so far; returns whether it was."""
        if not better(row, self.best, monitor):
            return False
        self.best = row
        self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return True

    def next_epoch(self) -> None:
        self.epoch += 1
        self.batch = 0
        self.state = None
        self.loss_sum.zero_()
        self.epoch_items = 0
        self.epoch_seconds = 0.0
