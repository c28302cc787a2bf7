"""Lengths of vectors, and vectors of length 1."""

from __future__ import annotations

import numpy as np


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Lengths (...) of vectors (..., D). A zero vector gets length 1, so that its cosines are 0."""
    # np.linalg.norm would allocate a second array of this size for the squares.
    squares = np.einsum("...i,...i->...", vectors, vectors, dtype=np.float64)
    return np.where(squares == 0, 1, np.sqrt(squares)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) scaled to length 1. Zero vectors stay zero; vectors that are not finite become NaN."""
    vectors = np.asarray(vectors, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return vectors / lengths(vectors)[..., None]
