"""Attributes of keys: the count, and whatever else the user sets. gensim calls them expandos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastrnn.word2vec.vectors.keys import Key
from fastrnn.word2vec.vectors.lookup import Lookup

Columns = Mapping[str, np.ndarray]


class Attributed(Lookup):
    """The methods of :class:`fastrnn.word2vec.WordVectors` for attributes of keys, stored in ``expandos``."""

    def get_vecattr(self, key: Key, attr: str) -> Any:
        """An attribute of ``key``, such as "count". Raises KeyError for an unknown key or attribute."""
        if attr not in self.expandos:
            known = ", ".join(map(repr, self.expandos)) or "none"
            raise KeyError(f"These vectors have no attribute {attr!r}; known attributes: {known}")
        value = self.expandos[attr][self.get_index(key)]
        return value.item() if isinstance(value, np.generic) else value

    def set_vecattr(self, key: Key, attr: str, val: Any) -> None:
        """Set an attribute of ``key``. For all other keys a new attribute is 0, or None if ``val`` is not a number.

        Raises:
            KeyError: ``key`` has no vector.
            ValueError: the dtype of the attribute cannot represent ``val``.
        """
        row = self.get_index(key)
        if attr not in self.expandos:
            self.expandos[attr] = _blank(_kind_of(np.asarray(val)), len(self))
        column = self.expandos[attr]
        if column.dtype.kind != "O":
            converted(attr, np.array([val], dtype=object), column.dtype)
        column[row] = val


def columns_of(extras: Mapping[str, Sequence[Any] | np.ndarray] | None, count: int) -> Columns:
    """Attributes of ``count`` keys as arrays. Raises ValueError for any other number of values."""
    columns = {}
    for name, values in (extras or {}).items():
        column = np.asarray(values)
        if column.shape != (count,):
            raise ValueError(f"Expected {count} values of {name!r}, one per key, got shape {list(column.shape)}")
        columns[name] = converted(name, column, np.dtype(np.int64) if name == "count" else _kind_of(column))
    return columns


def converted(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values of an attribute as ``dtype``. Raises ValueError if that would change any of them."""
    try:
        result = values.astype(dtype)
        same = (result == values) | (values != values)  # NaN stays NaN
    except (TypeError, ValueError, OverflowError):
        same = np.array(False)
    if not np.all(same):
        raise ValueError(f"Attribute {name!r} has dtype {dtype}, which cannot represent {values.tolist()}")
    return result


def extended(columns: Columns, more: Columns, rows: int, new: list[int]) -> dict[str, np.ndarray]:
    """Columns of ``rows`` values, extended by those of ``more`` at the indices ``new``; blank where it has none."""
    result = {}
    for name in dict.fromkeys([*columns, *more]):
        dtype = (columns if name in columns else more)[name].dtype
        above = columns[name] if name in columns else _blank(dtype, rows)
        below = converted(name, more[name][new], dtype) if name in more else _blank(dtype, len(new))
        result[name] = np.concatenate([above, below])
    return result


def extended_factors(factors: np.ndarray, rows: int, new: int) -> np.ndarray:
    """``vectors_lockf`` of ``rows`` vectors for ``new`` more, with factor 1. One factor for all stays as it is."""
    if new and len(factors) == rows > 1:
        return np.concatenate([factors, np.ones(new, dtype=np.float32)])
    return factors


def _kind_of(values: np.ndarray) -> np.dtype:
    """int64, float64 or bool for numbers, object for anything else."""
    kinds: dict[str, Any] = {"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}
    return np.dtype(kinds.get(values.dtype.kind, object) if values.ndim < 2 else object)


def _blank(dtype: np.dtype, rows: int) -> np.ndarray:
    return np.full(rows, None, dtype=object) if dtype.kind == "O" else np.zeros(rows, dtype=dtype)
