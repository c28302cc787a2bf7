"""The matrices that are trained, as the kernel wants them."""

from __future__ import annotations

import numpy as np

LINE = 16  # floats in a cache line: rows of whole lines are read without crossing one


def empty_rows(count: int, vector_size: int) -> np.ndarray:
    """A zero matrix (count, width), width being ``vector_size`` rounded up to whole cache lines, aligned to one."""
    width = -(-vector_size // LINE) * LINE
    memory = np.zeros(count * width + LINE, dtype=np.float32)
    start = -memory.ctypes.data % (4 * LINE) // 4
    return memory[start : start + count * width].reshape(count, width)


def random_rows(count: int, vector_size: int, seed: int, already: int = 0) -> np.ndarray:
    """Vectors as they are before training: uniform in ±1 / vector_size, as gensim's are.

    Args:
        already: rows that the model has, so that those added later are different ones.
    """
    rows = empty_rows(count, vector_size)
    generator = np.random.default_rng([seed % 2**64, already])
    rows[:, :vector_size] = (2 * generator.random((count, vector_size), dtype=np.float32) - 1) / vector_size
    return rows


def aligned(rows: np.ndarray) -> np.ndarray:
    """A copy of a matrix (count, vector_size) in the shape of :func:`empty_rows`."""
    result = empty_rows(*rows.shape)
    result[:, : rows.shape[1]] = rows
    return result


def grown(rows: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Both, one under the other, aligned as :func:`empty_rows`."""
    result = empty_rows(len(rows) + len(more), rows.shape[1])
    result[: len(rows)], result[len(rows) :] = rows, more
    return result
