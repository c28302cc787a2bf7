"""Vectors that are put in: new keys, other numbers for the old ones, a table of some keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from fastrnn.word2vec.keyed import Keyed

Self = TypeVar("Self", bound="Growing")


class Growing(Keyed):
    """What of :class:`fastrnn.word2vec.WordVectors` changes the table or makes another of it."""

    def add_vectors(
        self,
        keys: str | Sequence[str],
        weights: np.ndarray,
        extras: Mapping[str, Sequence[int] | np.ndarray] | None = None,
        replace: bool = False,
    ) -> None:
        """Add keys (n) with their vectors (n, D), behind those that are here.

        Args:
            extras: ``{"count": counts}`` for vectors that have counts; new keys without them have the count 0.
            replace: a key that is here gets this vector, written into the matrix that is here, and this count; without,
                it keeps its own.

        Raises:
            ValueError: The vectors are not as many as the keys or not of this size, a key comes twice, or the counts
                do not fit.
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        rows = np.atleast_2d(np.asarray(weights, dtype=np.float32))
        if rows.shape != (len(keys), self.vector_size) or len({*keys}) < len(keys):
            raise ValueError(
                f"Expected keys that differ and vectors of shape [keys, {self.vector_size}], got {len(keys)} keys, "
                f"{len({*keys})} of them different, and shape {list(rows.shape)}"
            )
        counts = _counts(extras or {}, len(keys), self.counts is not None)
        old = [place for place, key in enumerate(keys) if key in self.key_to_index]
        new = [place for place, key in enumerate(keys) if key not in self.key_to_index]
        if replace and old:
            at = [self.key_to_index[keys[place]] for place in old]
            self.vectors[at] = rows[old]
            if self.counts is not None and counts is not None:
                self.counts[at] = counts[old]
        if new:
            self.key_to_index |= {keys[place]: len(self) + i for i, place in enumerate(new)}
            self.index_to_key += [keys[place] for place in new]
            self.vectors = np.concatenate([self.vectors, rows[new]])
            if self.counts is not None:
                more = np.zeros(len(new), dtype=np.int64) if counts is None else counts[new]
                self.counts = np.concatenate([self.counts, more])
        self.fill_norms(force=True)

    def add_vector(self, key: str, vector: np.ndarray) -> int:
        """Add a key and its vector (D,), as :meth:`add_vectors`, which is quicker for many. Returns the key's row."""
        self.add_vectors([key], vector)
        return self.key_to_index[key]

    def __setitem__(self, keys: str | Sequence[str], weights: np.ndarray) -> None:
        """Give a key a vector (D,), or keys vectors (n, D), whether they are here or new."""
        self.add_vectors(keys, weights, replace=True)

    def unit_normalize_all(self) -> None:
        """Bring all vectors to length 1, in the matrix that is here. A model so changed is not to be trained on."""
        self.vectors[:] = self.get_normed_vectors()
        self.fill_norms(force=True)

    def vectors_for_all(self: Self, keys: Iterable[str]) -> Self:
        """The table of those of ``keys`` that have a vector, each once and in their order; counts go with them."""
        found = [key for key in dict.fromkeys(keys) if key in self.key_to_index]
        rows = [self.key_to_index[key] for key in found]
        return type(self)(found, self.vectors[rows], None if self.counts is None else self.counts[rows], self._device)


def _counts(extras: Mapping[str, Sequence[int] | np.ndarray], count: int, known: bool) -> np.ndarray | None:
    """The counts (count,) among the extras, if there are any."""
    if extras and (set(extras) != {"count"} or not known):
        allowed = "'count' alone" if known else "none, for these vectors have no counts"
        raise ValueError(f"extras may hold {allowed}; got {', '.join(map(repr, extras))}")
    if not extras:
        return None
    counts = np.asarray(extras["count"], dtype=np.int64)
    if counts.shape != (count,):
        raise ValueError(f"Expected {count} counts, one a key, got shape {list(counts.shape)}")
    return counts
