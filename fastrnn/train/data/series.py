"""Series of numbers as windows of past values and the values that follow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastrnn.train.data import order
from fastrnn.train.data.batch import Labelled
from fastrnn.train.data.scaler import Scaler

# The usual parts of the hourly ETT series: 12, 4 and 4 months of 30 days (Zhou et al., 2021, Informer).
ETT_HOURS = (12 * 30 * 24, 4 * 30 * 24, 4 * 30 * 24)


class Series:
    """A series split by time into ``train``, ``valid`` and ``test``, each of which yields batches of windows.

    A batch is Labelled: input (window, B, F), and target (B, horizon * C): the C target columns of the first following
    step, then those of the second, and so on. The values are scaled by mean and deviation of the training part. The
    targets of a part lie within it; the inputs of its first windows come from the previous part.

    Args:
        values: (T,) or (T, F) numbers, in the order of time.
        window: steps that the model sees.
        horizon: steps to predict.
        batch: windows in a batch, B.
        split: shares that sum to 1, such as (0.7, 0.1, 0.2), or numbers of steps such as ``ETT_HOURS``; further steps
            at the end are not used. A share or number of 0 makes the part None.
        targets: columns to predict; all by default.
        scale: False does not scale the values.
        seed: of the order of the windows of ``train`` in an epoch; the other parts are in the order of time.

    Attributes:
        train, valid, test: :class:`Windows`, or None.
        scaler: the :class:`Scaler`, or None.
        parts: the first step of each part and the step after its last.

    Raises:
        ValueError: a value is missing or infinite, a part is too short for a window, or the split is invalid.
    """

    def __init__(
        self,
        values: Any,
        window: int,
        horizon: int = 1,
        *,
        batch: int = 32,
        split: Sequence[float] = (0.7, 0.1, 0.2),
        targets: Sequence[int] | None = None,
        scale: bool = True,
        seed: int = 0,
    ) -> None:
        if min(window, horizon, batch) < 1:
            raise ValueError(f"window, horizon and batch must be at least 1, got {window}, {horizon} and {batch}")
        table = _table(values)
        self.window, self.horizon = window, horizon
        self.targets = list(range(table.shape[1]) if targets is None else targets)
        if not self.targets or not all(0 <= column < table.shape[1] for column in self.targets):
            raise ValueError(f"targets must be columns from 0 to {table.shape[1] - 1}, got {self.targets}")
        self.parts = _parts(len(table), split)
        self.scaler = Scaler.fit(table[slice(*self.parts[0])]) if scale else None
        scaled = table if self.scaler is None else self.scaler.transform(table)
        self.values = torch.from_numpy(scaled).to(torch.get_default_dtype())

        made: list[Windows | None] = []
        for name, (begin, end) in zip(("training", "validation", "test"), self.parts, strict=True):
            first = max(begin, window)  # the first step that can be predicted
            if end == begin and name != "training":
                made.append(None)
                continue
            if end - first < horizon:
                raise ValueError(
                    f"the {name} part has {end - begin} steps from step {begin} on; a window of {window} steps and a "
                    f"horizon of {horizon} need {max(window - begin, 0) + horizon}"
                )
            starts = range(first, end - horizon + 1)
            made.append(Windows(self, starts, batch, shuffle=name == "training", seed=seed))
        assert made[0] is not None
        self.train: Windows = made[0]
        self.valid, self.test = made[1:]

    def inverse(self, outputs: torch.Tensor) -> torch.Tensor:
        """Targets or a model's outputs (B, horizon * C) in the units of the series: (B, horizon, C)."""
        steps = outputs.reshape(len(outputs), self.horizon, len(self.targets))
        return steps if self.scaler is None else self.scaler.inverse(steps, self.targets)


class Windows:
    """Batches of the windows of one part; ``starts`` are their first steps to predict."""

    def __init__(self, series: Series, starts: range, batch: int, *, shuffle: bool, seed: int) -> None:
        self.series, self.starts, self.batch, self.shuffle, self.seed = series, starts, batch, shuffle, seed

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / self.batch)

    def epoch(self, number: int) -> Iterator[Labelled]:
        series = self.series
        back, ahead = torch.arange(-series.window, 0)[:, None], torch.arange(series.horizon)
        for places in order.drawn(len(self.starts), self.batch, self.seed, number, self.shuffle):
            starts = torch.from_numpy(places) + self.starts.start
            target = series.values[starts[:, None] + ahead][..., series.targets]
            yield Labelled(series.values[starts + back], None, target.flatten(1))

    def __iter__(self) -> Iterator[Labelled]:
        return self.epoch(0)


def _table(values: Any) -> np.ndarray:
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind not in "iubf":
        raise TypeError(f"a series must be numbers (T,) or (T, F), got {array.dtype} of shape {array.shape}")
    table = (array[:, None] if array.ndim == 1 else array).astype(np.float64)
    if not np.isfinite(table).all():
        row, column = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(
            f"the value at step {row}, column {column} is {table[row, column]}; fill in or remove such steps"
        )
    return table


def _parts(length: int, split: Sequence[float]) -> list[tuple[int, int]]:
    """The begin and end of the three parts."""
    if len(split) != 3 or min(split) < 0:
        raise ValueError(f"split must be three shares or numbers of steps (train, valid, test), got {split!r}")
    if sum(split) > 1 and all(float(part).is_integer() for part in split):
        ends = np.cumsum(split).astype(int).tolist()
        if ends[-1] > length:
            raise ValueError(f"split={tuple(split)} needs {ends[-1]} steps, and the series has {length}")
    elif math.isclose(sum(split), 1.0, abs_tol=1e-6):
        ends = [round(split[0] * length), round((split[0] + split[1]) * length), length]
    else:
        raise ValueError(
            f"shares must sum to 1, but {tuple(split)} sum to {sum(split):g}; numbers of steps must be whole"
        )
    return list(zip([0, *ends[:-1]], ends, strict=True))
