"""Numbers that users give, checked."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any


def finite(name: str, value: Any) -> float:
    """The number, or an error that has its name.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"Expected {name} to be a number, got {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"Expected {name} to be finite, got {value}")
    return float(value)
