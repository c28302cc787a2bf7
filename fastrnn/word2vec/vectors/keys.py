"""Types of keys and queries: a key names a vector, a query is a key or a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Key = str | int
Query = Key | np.ndarray


def as_keys(keys: Sequence[Key]) -> list[Key]:
    """Keys as a list of str and int. Raises TypeError for any other type."""
    found = list(keys)
    if {*map(type, found)} <= {str, int}:
        return found
    for row, key in enumerate(found):
        if isinstance(key, np.integer):
            found[row] = int(key)
        elif isinstance(key, str):
            found[row] = str(key)
        elif not isinstance(key, int) or isinstance(key, bool):
            raise TypeError(f"Expected keys that are str or int, got {key!r}; convert it, for example with str(key)")
    return found


def listed(queries: Any) -> list[Any]:
    """One query, several or none as a list."""
    if queries is None:
        return []
    if isinstance(queries, (str, int, np.integer)) or (isinstance(queries, np.ndarray) and queries.ndim == 1):
        return [queries]
    return list(queries)
