"""The order of an epoch: it follows from seed and number, so a position is (epoch, batch) (docs/adr/0022-data.md)."""

from __future__ import annotations

import numpy as np


def generator(seed: int, number: int) -> np.random.Generator:
    """Random numbers of an epoch, the same whichever epochs were read before."""
    return np.random.default_rng([seed, number])


def batches(places: np.ndarray, batch: int) -> list[np.ndarray]:
    """Items cut into batches; the last may be smaller."""
    return [places[start : start + batch] for start in range(0, len(places), batch)]


def drawn(count: int, batch: int, seed: int, number: int, shuffle: bool) -> list[np.ndarray]:
    """The items of each batch of an epoch, by their places among ``count``; as they stand without ``shuffle``."""
    return batches(generator(seed, number).permutation(count) if shuffle else np.arange(count), batch)
