"""The matrices that are trained, in the memory layout of the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.settings import Settings

LINE = _C.LINE  # floats in a cache line; rows of whole lines need the fewest memory accesses


def empty_rows(count: int, vector_size: int) -> np.ndarray:
    """A zero matrix (count, width) aligned to cache lines; width is ``vector_size`` rounded up to whole lines."""
    width = -(-vector_size // LINE) * LINE
    memory = np.zeros(count * width + LINE, dtype=np.float32)
    start = -memory.ctypes.data % (4 * LINE) // 4
    return memory[start : start + count * width].reshape(count, width)


def random_rows(count: int, vector_size: int, seed: int, already: int = 0) -> np.ndarray:
    """Initial vectors: uniform in ±1 / vector_size, as in gensim.

    Args:
        already: the number of rows the model has, so that rows added later differ from the first ones.
    """
    rows = empty_rows(count, vector_size)
    generator = np.random.default_rng([seed % 2**64, already])
    drawn = generator.random((count, vector_size), dtype=np.float32)
    drawn *= 2
    drawn -= 1
    drawn /= vector_size  # in place: three more arrays of this size would be the peak of memory
    rows[:, :vector_size] = drawn
    return rows


def aligned(rows: np.ndarray) -> np.ndarray:
    """A copy of a matrix (count, vector_size) in the layout of :func:`empty_rows`."""
    result = empty_rows(*rows.shape)
    result[:, : rows.shape[1]] = rows
    return result


def grown(rows: np.ndarray, more: np.ndarray) -> np.ndarray:
    """``rows`` followed by ``more``, in the layout of :func:`empty_rows`."""
    result = empty_rows(len(rows) + len(more), rows.shape[1])
    result[: len(rows)], result[len(rows) :] = rows, more
    return result


class Parameters:
    """Everything that training changes.

    Attributes:
        syn0: (V, width), the input vectors of the words: the word vectors that users want.
        syn1: (V - 1, width), the vectors of the inner nodes for hierarchical softmax, or None.
        syn1neg: (V, width), the output vectors of the words for negative sampling, or None.
    """

    def __init__(self, syn0: np.ndarray, syn1: np.ndarray | None, syn1neg: np.ndarray | None) -> None:
        self.syn0, self.syn1, self.syn1neg = syn0, syn1, syn1neg

    @classmethod
    def untrained(cls, words: int, settings: Settings) -> Parameters:
        size = settings.vector_size
        return cls(
            random_rows(words, size, settings.seed),
            _tree(words, size) if settings.hs else None,
            empty_rows(words, size) if settings.negative else None,
        )

    def with_more(self, new: int, settings: Settings) -> Parameters:
        """Parameters for ``new`` more words. Learned values are kept, except those of the tree, which changes."""
        before, size = len(self.syn0), settings.vector_size
        return Parameters(
            grown(self.syn0, random_rows(new, size, settings.seed, already=before)),
            None if self.syn1 is None else _tree(before + new, size),
            None if self.syn1neg is None else grown(self.syn1neg, empty_rows(new, size)),
        )

    def rearranged(self, rows: Sequence[int]) -> Parameters:
        """Parameters for other words: word i gets the output vector of row ``rows[i]``, or zeros where that is -1."""
        at = np.asarray(rows, dtype=np.int64)
        outputs = self.syn1neg
        if outputs is not None:
            outputs = empty_rows(len(at), outputs.shape[1])
            outputs[at >= 0] = self.syn1neg[at[at >= 0]]  # type: ignore[index]
        return Parameters(self.syn0, None if self.syn1 is None else _tree(len(at), self.syn1.shape[1]), outputs)

    def with_outputs(self, settings: Settings) -> Parameters:
        """These parameters plus missing ones that the settings need, because hs or negative may have been set later."""
        words, size = len(self.syn0), settings.vector_size
        syn1, syn1neg = self.syn1, self.syn1neg
        return Parameters(
            self.syn0,
            _tree(words, size) if settings.hs and syn1 is None else syn1,
            empty_rows(words, size) if settings.negative and syn1neg is None else syn1neg,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The matrices that are not None, by name."""
        return {name: rows for name, rows in vars(self).items() if rows is not None}


def _tree(words: int, vector_size: int) -> np.ndarray:
    return empty_rows(max(words - 1, 1), vector_size)
