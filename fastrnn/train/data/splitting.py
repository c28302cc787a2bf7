"""Splits items by shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def split(items: Sequence[Item], shares: Sequence[float], seed: int | None = 0) -> list[list[Item]]:
    """Split items at random: ``train, valid = split(pairs, (0.9, 0.1))``.

    Args:
        shares: of the parts; they must sum to 1.
        seed: of the random order; None keeps the items in their order.

    Raises:
        ValueError: the shares do not sum to 1, or a part is empty although its share is not 0.
    """
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must sum to 1, got {tuple(shares)}")
    count = len(items)
    places = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    ends = [round(sum(shares[: part + 1]) * count) for part in range(len(shares))]
    parts = [[items[place] for place in places[begin:end]] for begin, end in zip([0, *ends], ends, strict=False)]
    if not all(part or share == 0 for part, share in zip(parts, shares, strict=True)):
        raise ValueError(f"{count} items are too few for parts of {tuple(shares)}")
    return parts
