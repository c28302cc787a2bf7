"""The progress of a training in the terminal: a bar during an epoch, a line at its end."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

from fastrnn.train.loop.evaluation import length
from fastrnn.train.loop.training import Training

EVERY = 0.25  # seconds between two readings of the loss, since on a GPU each makes the CPU wait


class Progress(AbstractContextManager["Progress"]):
    """A bar with items per second, loss, the perplexity of a language model, and time left.

    Nothing is shown if the output is not a terminal, without rich (in ``fastrnn[train]``), and by other processes than
    the first.
    """

    def __init__(self, training: Training, epochs: int, *, shown: bool) -> None:
        self.training = training
        self.epochs = epochs
        self.batches = length(training.data)
        self.bar: Any = _bar() if shown and training.world.rank == 0 else None
        self.words = callable(getattr(training.model, "perplexity", None))  # a squared error has no perplexity
        self._last = monotonic()
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.bar.start()
            total = None if self.batches is None else self.batches * self.epochs
            self._task = self.bar.add_task("", total=total, completed=self._done(), figures="")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self) -> None:
        """Called after each step; redraws from time to time."""
        if self.bar is None or monotonic() - self._last < EVERY:
            return
        self._last = monotonic()
        self.training.tick()
        speed = self.training.epoch_items / max(self.training.epoch_seconds, 1e-9)
        share = self.training.epoch_items / self.training.world.size
        loss = float(self.training.loss_sum) / max(1.0, share)
        figures = f"{speed:,.0f} items/s  loss {loss:.3f}"
        if self.words and loss < 20:
            figures += f"  ppl {math.exp(loss):,.1f}"
        self.bar.update(
            self._task,
            description=f"epoch {self.training.epoch + 1}/{self.epochs}",
            completed=self._done(),
            figures=figures,
        )

    def epoch(self, row: dict[str, Any]) -> None:
        """Called after each epoch; prints its metrics above the bar."""
        if self.bar is not None:
            self.bar.console.print(line(row), markup=False, highlight=False)

    def _done(self) -> int:
        return self.training.epoch * (self.batches or 0) + self.training.batch


def line(row: dict[str, Any]) -> str:
    """A row of the history as a line of text."""
    shown = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name not in _NOT_SHOWN]
    return f"epoch {row['epoch']}{' (partial)' if row.get('partial') else ''}: " + ", ".join(shown)


_NOT_SHOWN = ("epoch", "step", "partial", "gradient_norm")


def _bar() -> Any:
    """A bar of rich, if rich is installed and the output is a terminal."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    columns = ("{task.description}", progress.BarColumn(), "{task.percentage:>3.0f}%", "{task.fields[figures]}")
    return progress.Progress(*columns, progress.TimeRemainingColumn(), console=console, refresh_per_second=4)
