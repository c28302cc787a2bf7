"""The matrices that are trained, as the kernel wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastrnn.word2vec.settings import Settings

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
    drawn = generator.random((count, vector_size), dtype=np.float32)
    drawn *= 2
    drawn -= 1
    drawn /= vector_size  # in place, for three more of these would be the peak of a training's memory
    rows[:, :vector_size] = drawn
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


class Parameters:
    """Everything that training changes.

    Attributes:
        syn0: (V, width), the vectors of the words as input; those that users want.
        syn1: (V - 1, width), of the inner nodes of the tree of hierarchical softmax, or None.
        syn1neg: (V, width), the vectors of the words as output, for negative sampling, or None.
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
        """Those for ``new`` words more; what was learned stays, but for the tree, whose nodes are others now."""
        before, size = len(self.syn0), settings.vector_size
        return Parameters(
            grown(self.syn0, random_rows(new, size, settings.seed, already=before)),
            None if self.syn1 is None else _tree(before + new, size),
            None if self.syn1neg is None else grown(self.syn1neg, empty_rows(new, size)),
        )

    def rearranged(self, rows: Sequence[int]) -> Parameters:
        """Those of other words: word i has learned as an output what row ``rows[i]`` has, or nothing where it is -1."""
        at = np.asarray(rows, dtype=np.int64)
        outputs = self.syn1neg
        if outputs is not None:
            outputs = empty_rows(len(at), outputs.shape[1])
            outputs[at >= 0] = self.syn1neg[at[at >= 0]]  # type: ignore[index]
        return Parameters(self.syn0, None if self.syn1 is None else _tree(len(at), self.syn1.shape[1]), outputs)

    def with_outputs(self, settings: Settings) -> Parameters:
        """These, and what the settings train that is not here yet: hs or negative may have been set later."""
        words, size = len(self.syn0), settings.vector_size
        syn1, syn1neg = self.syn1, self.syn1neg
        return Parameters(
            self.syn0,
            _tree(words, size) if settings.hs and syn1 is None else syn1,
            empty_rows(words, size) if settings.negative and syn1neg is None else syn1neg,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The matrices that there are, by their names."""
        return {name: rows for name, rows in vars(self).items() if rows is not None}


def _tree(words: int, vector_size: int) -> np.ndarray:
    return empty_rows(max(words - 1, 1), vector_size)
