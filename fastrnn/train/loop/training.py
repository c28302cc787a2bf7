"""Everything that changes while a model trains, in one object that can be saved and restored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fastrnn.train.loop import random_state
from fastrnn.train.loop.averaging import Average
from fastrnn.train.loop.distributed import World
from fastrnn.train.loop.evaluation import batches_of
from fastrnn.train.loop.result import better
from fastrnn.train.saving.tree import moved, owned
from fastrnn.train.schedules import Schedule

LOOKS = 50  # on a GPU, steps between two checks for finite losses, since each makes the CPU wait


class Training:
    """The state of a training between two steps."""

    def __init__(
        self, model: nn.Module, data: Any, optimizer: Optimizer, schedule: Schedule, autocast: str | None, world: World
    ) -> None:
        self.model, self.data, self.optimizer, self.schedule, self.world = model, data, optimizer, schedule, world
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.device = self.parameters[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=autocast == "float16")
        self.average = Average(self.parameters if schedule.may_average else [])
        self.rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.zero_grad(set_to_none=True)  # gradients left by the caller would enter the first step

        self.epoch = 0  # finished epochs
        self.batch = 0  # batches read in the current epoch
        self.step = 0  # steps of the optimizer, over all epochs
        self.items = 0  # of all processes, over all epochs
        self.epoch_items = 0
        self.state: Any = None  # carried into the next batch
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)  # of this process, in this epoch
        self.norm = torch.zeros((), device=self.device)  # of the last gradient
        self.bad_step = torch.zeros((), dtype=torch.int64, device=self.device)  # the first not finite, or 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self.best_weights: dict[str, Tensor] = {}
        self.seconds = 0.0
        self.epoch_seconds = 0.0
        self._clock = monotonic()
        self._began: dict[str, Any] = {}  # random states at the beginning of the epoch
        self._now: dict[str, Any] = {}  # random states at the checkpoint

    def groups(self, accumulate: int) -> Iterator[list[Any]]:
        """The rest of the epoch in groups of batches, one group for each step. No batch is read before its step."""
        if self.batch == 0:
            self.world.common_generators()
            self._began = random_state.read(self.data, self.device)
        else:  # so that data that draws its order draws the same again
            random_state.write(self._began, self.data, self.device)
        batches = batches_of(self.data, self.epoch, self.device)
        if self.batch > 0:
            next(islice(batches, self.batch - 1, None), None)
            random_state.write(self._now, self.data, self.device)
        group: list[Any] = []
        for batch in batches:
            if self.batch == 0 and not group:
                self.world.own_generators()
            group.append(batch)
            if len(group) == accumulate * self.world.batches_at_once(batch):
                yield group
                group = []
        if group:
            yield group
        if self.batch == 0:
            raise ValueError(
                f"there are no batches in epoch {self.epoch + 1}. "
                "An iterator can be read only once; pass a list or a DataLoader"
            )

    def diverged(self, *, look: bool = False) -> bool:
        """Whether a loss or gradient so far was not finite; on a GPU checked at every 50th step, or with ``look``."""
        finite = self.norm.isfinite() | self.scaler.is_enabled()  # the scaler skips steps that are not finite
        if self.world.size == 1:  # else the processes' own losses could make them disagree
            finite = finite & self.loss_sum.isfinite()
        self.bad_step = torch.where(finite | (self.bad_step > 0), self.bad_step, self.step + 1)
        return (look or self.device.type == "cpu" or self.step % LOOKS == 0) and int(self.bad_step) > 0

    def update(self, batches: int, items: int) -> None:
        """One step of the optimizer, at the schedule's learning rate."""
        multiplier = self.schedule.multiplier(self.step, self.epoch + 1)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * multiplier
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.schedule.averages:
            self.average.update()
        self.step += 1
        self.batch += batches
        self.epoch_items += items
        self.items += items

    def tick(self, *, training: bool = True) -> None:
        """Add the time since the last tick; validation does not count for the epoch."""
        now = monotonic()
        self.seconds += now - self._clock
        self.epoch_seconds += (now - self._clock) * training
        self._clock = now

    def train_loss(self) -> float:
        """The mean loss of the epoch so far, over the items of all processes."""
        return self.world.sum(float(self.loss_sum))[0] / max(1, self.epoch_items)

    def row(self, figures: dict[str, float]) -> dict[str, Any]:
        """The row of the history for the epoch so far, after validation."""
        self.tick(training=False)
        return {
            "epoch": self.epoch + 1,
            "step": self.step,
            "train_loss": self.train_loss(),
            "lr": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(self.norm),
            "seconds": round(self.epoch_seconds, 3),
            "items_per_second": round(self.epoch_items / max(self.epoch_seconds, 1e-9), 1),
            **{f"valid_{name}": value for name, value in figures.items()},
        }

    def keep_if_best(self, row: dict[str, Any], monitor: str) -> bool:
        """Keep a copy of the weights if this row is the best so far; returns whether it is."""
        if not better(row, self.best, monitor):
            return False
        self.best = row
        self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return True

    def waited(self, patience: int | None) -> bool:
        """Whether the best epoch is at least ``patience`` epochs ago."""
        return patience is not None and bool(self.best) and self.epoch - self.best["epoch"] >= patience

    def next_epoch(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        if "valid_loss" in row:
            self.schedule.validated(row["valid_loss"])
        self.epoch += 1
        self.batch = self.epoch_items = 0
        self.epoch_seconds = 0.0
        self.loss_sum.zero_()
        self.state = None

    COUNTERS = ("epoch", "batch", "step", "items", "epoch_items", "history", "best", "seconds", "epoch_seconds")

    def saved(self) -> dict[str, Any]:
        """The state for :meth:`restore`. All processes must call it; only the first gets all of it."""
        self.tick()
        own = {
            "state": owned(self.state),
            "loss_sum": float(self.loss_sum),
            "norm": owned(self.norm),
            "began": self._began,
            "now": random_state.read(self.data, self.device),
        }
        return {
            "counters": {name: getattr(self, name) for name in self.COUNTERS},
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "average": self.average.state(),
            "scaler": self.scaler.state_dict(),
            "processes": self.world.gather(own),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore the state that :meth:`saved` returned."""
        if len(saved["processes"]) != self.world.size:
            raise ValueError(
                f"the checkpoint is from {len(saved['processes'])} processes, and this training has {self.world.size}; "
                "resume with the same number"
            )
        for name in self.COUNTERS:
            setattr(self, name, saved["counters"][name])
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.restore(saved["schedule"])
        self.average.restore(saved["average"])
        self.scaler.load_state_dict(saved["scaler"])
        own = saved["processes"][self.world.rank]
        self.state = moved(own["state"], self.device)
        self.loss_sum.fill_(own["loss_sum"])
        self.norm = own["norm"].to(self.device)
        self._began, self._now = own["began"], own["now"]
        random_state.write(self._now, self.data, self.device)
        self._clock = monotonic()
