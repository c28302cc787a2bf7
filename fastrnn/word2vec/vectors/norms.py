"""Lengths of vectors, and vectors of length 1."""

from __future__ import annotations

import numpy as np


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Lengths (...) of vectors (..., D). A vector of zeros has length 1, so that it is similar to nothing."""
    # np.linalg.norm would need as much memory again as the vectors take, for their squares.
    squares = np.einsum("...i,...i->...", vectors, vectors, dtype=np.float64)
    return np.where(squares == 0, 1, np.sqrt(squares)).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., D) brought to length 1; zeros stay zeros, and what is not finite becomes NaN."""
    vectors = np.asarray(vectors, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return vectors / lengths(vectors)[..., None]
