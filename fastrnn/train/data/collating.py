"""Joins sequences of different lengths into one tensor, time first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

IGNORED = -100  # torch's ignore_index: no target


def as_sequence(sequence: Any, place: str) -> np.ndarray:
    """Ids as int64 (T,), or numbers as floats (T, F) of torch's default dtype.

    Raises:
        ValueError: it is empty.
        TypeError: it is neither.
    """
    array = _array(sequence)
    if array.size == 0:
        raise ValueError(f"{place} is an empty sequence; remove such items")
    if array.ndim == 1 and array.dtype.kind in "iub":
        return array.astype(np.int64, copy=False)
    if array.ndim == 2 and array.dtype.kind in "iubf":
        return array.astype(_float(), copy=False)
    hint = (
        "; for one number at each step give (T, 1): values[:, None]"
        if array.ndim == 1 and array.dtype.kind == "f"
        else ""
    )
    raise TypeError(
        f"{place} must be ids (T,) of integers or numbers (T, F), got {array.dtype} of shape {array.shape}{hint}"
    )


def as_columns(sequence: Any, place: str) -> np.ndarray:
    """Ids of several columns as int64 (T, C).

    Raises:
        ValueError: it is empty.
        TypeError: it is anything else.
    """
    array = _array(sequence)
    if array.size == 0:
        raise ValueError(f"{place} is an empty sequence; remove such items")
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise TypeError(f"{place} must be columns (T, C) of integers, got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)


def as_label(label: Any, place: str) -> np.ndarray:
    """A label: an integer as int64 (), or numbers as floats (F,) of torch's default dtype."""
    array = _array(label)
    if array.ndim == 0 and array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.ndim <= 1 and array.size > 0 and array.dtype.kind in "iubf":
        return np.atleast_1d(array).astype(_float(), copy=False)
    raise TypeError(
        f"{place} must be an integer or numbers (F,), got "
        + (f"{label!r:.60}" if array.dtype.kind not in "iubf" else f"{array.dtype} of shape {array.shape}")
    )


def as_numbers(values: Any, place: str) -> np.ndarray:
    """Numbers of any shape, a picture or a vector, in their own dtype: bytes stay bytes."""
    array = _array(values)
    if array.size == 0 or array.dtype.kind not in "iubf":
        raise TypeError(f"{place} must be numbers, got {array.dtype} of shape {array.shape}")
    return array


def padded(sequences: Sequence[np.ndarray], pad: int) -> Tensor:
    """(T, B) or (T, B, F), where T is the longest length; shorter sequences are padded with ``pad``."""
    longest = max(len(each) for each in sequences)
    batch = np.full((longest, len(sequences), *sequences[0].shape[1:]), pad, sequences[0].dtype)
    for row, each in enumerate(sequences):
        batch[: len(each), row] = each
    return torch.from_numpy(batch)


def lengths(sequences: Sequence[np.ndarray]) -> Tensor:
    return torch.tensor([len(each) for each in sequences], dtype=torch.int64)


def one_hot(ids: Tensor, size: int) -> Tensor:
    """Vectors (..., size) of torch's default dtype with a one at each id and zeros elsewhere.

    Raises:
        ValueError: an id is not within 0 to size - 1.
    """
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
        raise ValueError(f"ids must be within 0 to {size - 1}, got {int(ids.min())} to {int(ids.max())}")
    return torch.zeros(*ids.shape, size, device=ids.device).scatter_(-1, ids.long().unsqueeze(-1), 1.0)


def _array(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError:  # a list of lists of different lengths
        return np.asarray(None)


def _float() -> np.dtype[Any]:
    return torch.empty(0).numpy().dtype
