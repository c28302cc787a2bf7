"""The time of a training step with fastrnn's layers and with torch.nn's, measured in turns."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch

import fastrnn
from fastrnn.train import tasks
from fastrnn.train.tasks.run import prepare


def seconds_per_step(run: tasks.Run, rounds: int = 8) -> dict[str, float]:
    """Measures one step of a run's model on its first batch: the minimum over the rounds."""
    batch = next(iter(prepare(run.task, run.settings).train.epoch(0)))
    own, theirs = copy.deepcopy(run.model), copy.deepcopy(run.model)
    fastrnn.to_torch(theirs)
    steps = {"fastrnn": stepper(own, batch), "torch": stepper(theirs, batch)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()  # loads its weights into the cache
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}


def stepper(model: Any, batch: Any) -> Callable[[], None]:
    """A step of Adam on a batch."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        model.loss(batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
