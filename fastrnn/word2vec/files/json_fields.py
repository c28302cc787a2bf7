"""Checks of values parsed from JSON, for files from untrusted sources."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any


def parsed(text: bytes) -> Any:
    """Parse JSON. Raises ValueError, also for nesting deeper than Python can follow."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def fields(value: Any, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """Check for a JSON object that has the required names and no others than the optional ones.

    Raises:
        ValueError: the value is not an object, or a name is missing or unknown.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a JSON object, got {type(value).__name__}")
    missing = [name for name in required if name not in value]
    unknown = [name for name in value if name not in required and name not in optional]
    if missing or unknown:
        problem = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
        raise ValueError(f"{what}: {problem}")
    return value


def strings(value: Any, what: str) -> list[str]:
    """Check for a list of distinct strings. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{what} must be a list of strings")
    if len({*value}) < len(value):
        raise ValueError(f"{what} must not contain a string twice")
    return value


def count(value: Any, what: str) -> int:
    """Check for an integer from 0 to the largest int64. Raises ValueError."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{what} must be a whole number from 0 to 2**63 - 1, got {str(value)[:40]}")
    return value


def number(value: Any, what: str) -> float:
    """Check for a finite number. Raises ValueError."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number, got {str(value)[:40]}")
    return value
