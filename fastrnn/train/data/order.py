"""The order of an epoch. It depends on seed and number, so a position is (epoch, batch) (docs/adr/0022-data.md)."""

from __future__ import annotations

import numpy as np


def generator(seed: int, number: int) -> np.random.Generator:
    """The random numbers of an epoch, independent of the epochs read before."""
    return np.random.default_rng([seed, number])


def batches(places: np.ndarray, batch: int) -> list[np.ndarray]:
    """Items cut into batches; the last may be smaller."""
    return [places[start : start + batch] for start in range(0, len(places), batch)]


def drawn(count: int, batch: int, seed: int, number: int, shuffle: bool) -> list[np.ndarray]:
    """The indices of the items of each batch of an epoch, out of ``count``; in order without ``shuffle``."""
    return batches(generator(seed, number).permutation(count) if shuffle else np.arange(count), batch)
