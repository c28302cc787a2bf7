"""Training part and held-out part of made data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")


class Split(NamedTuple, Generic[Item]):
    """What to train on, and what to test on."""

    train: list[Item]
    held_out: list[Item]


def split(items: Sequence[Item], held_out: float, seed: int | None = None) -> Split[Item]:
    """The first items for training and the share ``held_out`` after them; with a seed, in an order drawn from it.

    Raises:
        ValueError: the share is not in [0, 1), or leaves nothing to train on.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is the share that is not for training, in [0, 1), got {held_out}")
    ordered = list(items)
    if seed is not None:
        random.Random(seed).shuffle(ordered)
    train = len(ordered) - round(held_out * len(ordered))
    if not train:
        raise ValueError(f"held_out={held_out} of {len(ordered)} leaves nothing to train on")
    return Split(ordered[:train], ordered[train:])
