"""What a task is: settings, and from them a model and its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prepared:
    """A model and the data to train, validate and test it on; the latter two may be None."""

    model: Any
    train: Any
    valid: Any = None
    test: Any = None
