"""Series to forecast: sums of sines with a trend and unpredictable noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def waves(
    steps: int = 3000,
    *,
    columns: int = 1,
    periods: Sequence[float] = (24, 168),
    trend: float = 0.002,
    noise: float = 0.2,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """A series (steps, columns), like an hourly load with daily and weekly periods.

    Each column is a sum of sines with these periods, amplitudes from 0.5 to 1.5 and random phases, plus a level that
    rises by ``trend`` per step, plus independent normal noise. The standard deviation ``noise`` is the lowest root mean
    squared error of any forecast, in the units of the series.

    Raises:
        ValueError: there are no steps or columns, or a period is not above 0.
    """
    if steps < 1 or columns < 1 or not all(period > 0 for period in periods):
        raise ValueError(
            f"steps and columns must be at least 1 and periods above 0, got {steps}, {columns} and {tuple(periods)}"
        )
    generator = np.random.default_rng(seed)
    time = np.arange(steps)[:, None]
    values = trend * np.repeat(time, columns, axis=1) + generator.normal(0, noise, (steps, columns))
    for period in periods:
        amplitude, phase = generator.uniform(0.5, 1.5, columns), generator.uniform(0, 2 * np.pi, columns)
        values += amplitude * np.sin(2 * np.pi * time / period + phase)
    return values
