"""Looking up vectors by key: one, several, or their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from fastrnn.word2vec.vectors.keys import Key, Query, listed
from fastrnn.word2vec.vectors.norms import unit
from fastrnn.word2vec.vectors.table import VectorTable


class Lookup(VectorTable):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that return vectors of given keys."""

    def __contains__(self, key: object) -> bool:
        return self._row(key) is not None

    def __getitem__(self, key: Key | Sequence[Key]) -> np.ndarray:
        """The vector (D,) of a key, read-only; for a list of keys a copy of their vectors, (n, D)."""
        if isinstance(key, (str, int, np.integer)):
            return self.get_vector(key)
        return self.vectors[[self.get_index(each) for each in key]]

    def has_index_for(self, key: object) -> bool:
        """Whether ``key`` has a vector."""
        return key in self

    def _row(self, key: object) -> int | None:
        if not isinstance(key, (str, int, np.integer)):
            return None
        row = self.key_to_index.get(key)
        if row is None and not isinstance(key, str) and not self._integer_keys and 0 <= key < len(self):
            row = int(key)
        return row

    @overload
    def get_index(self, key: Key) -> int: ...
    @overload
    def get_index(self, key: Key, default: int) -> int: ...
    def get_index(self, key: Key, default: int | None = None) -> int:
        """The row of ``key``; if it has none, ``default``, or KeyError without a default."""
        row = self._row(key)
        if row is None:
            row = default
        if row is None:
            raise KeyError(f"Key {key!r} is not among the {len(self)} keys")
        return row

    def get_vector(self, key: Key, norm: bool = False) -> np.ndarray:
        """The vector (D,) of ``key``: a read-only view of the matrix, or with ``norm`` a copy of length 1."""
        vector = self._vectors[self.get_index(key)]
        if norm:
            return unit(vector)
        vector.flags.writeable = False
        return vector

    def word_vec(self, word: Key, norm: bool = False) -> np.ndarray:
        """:meth:`get_vector`, by gensim's older name."""
        return self.get_vector(word, norm)

    def fill_norms(self, force: bool = False) -> None:
        """Compute the lengths that similarities need. Call it with ``force`` after writing into ``vectors``.

        Without ``force`` it is never necessary: similarities compute the lengths themselves.
        """
        if force:
            self.vectors_changed()
        _ = self.lengths

    def get_normed_vectors(self) -> np.ndarray:
        """All vectors (V, D), each of length 1."""
        return self.vectors / self.lengths[:, None]

    def get_mean_vector(
        self,
        keys: Query | Sequence[Query],
        weights: Sequence[float] | np.ndarray | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> np.ndarray:
        """The mean (D,) of the vectors of ``keys``: their weighted sum divided by the sum of the absolute weights.

        Args:
            keys: keys or vectors (D,).
            weights: one per key; by default 1.
            pre_normalize: scale the vectors of keys to length 1 first; vectors given as such are used as they are.
            post_normalize: scale the mean to length 1.
            ignore_missing: skip keys without a vector instead of raising KeyError. If all are skipped, the mean is 0.
        """
        queries = listed(keys)
        if not queries:
            raise ValueError("Expected at least one key or vector to take the mean of, got none")
        if weights is None:
            weights = np.ones(len(queries), dtype=np.float32)
        if len(weights) != len(queries):
            raise ValueError(f"Expected {len(queries)} weights, one per key, got {len(weights)}")
        total, mass = np.zeros(self.vector_size, dtype=np.float32), 0.0
        for query, weight in zip(queries, weights, strict=True):
            if isinstance(query, np.ndarray):
                total += np.float32(weight) * query
            elif query in self or not ignore_missing:
                total += np.float32(weight) * self.get_vector(query, norm=pre_normalize)
            else:
                continue
            mass += abs(float(weight))
        mean = total / np.float32(mass) if mass > 0 else total
        return unit(mean) if post_normalize else mean
