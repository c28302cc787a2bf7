"""Keys and their vectors: the table under :class:`fastrnn.word2vec.WordVectors`, and looking up vectors in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from fastrnn.word2vec.gensim_names import missing_attribute
from fastrnn.word2vec.vectors.keys import Key, Query, as_keys, listed
from fastrnn.word2vec.vectors.norms import lengths, unit

if TYPE_CHECKING:
    import torch

    from fastrnn.word2vec.vectors.cosine_table import CosineTable


class VectorTable:
    """V keys and a matrix of V vectors.

    Keys are strings or integers. If all keys are strings, an integer means a row. If any key is an integer, integers
    are always keys, so that a key is never mistaken for a row.
    """

    def __init__(
        self,
        keys: Sequence[Key] | int = (),
        vectors: np.ndarray | int | None = None,
        counts: np.ndarray | Sequence[int] | None = None,
        device: str | torch.device = "cpu",
        *,
        vector_size: int | None = None,
        count: int = 0,
        dtype: Any = np.float32,
    ) -> None:
        if isinstance(keys, (int, np.integer)):  # gensim's KeyedVectors(vector_size, count)
            vector_size, keys = int(keys), ()
        if isinstance(vectors, (int, np.integer)):
            vectors = None
        if np.dtype(dtype) != np.float32:
            raise ValueError(f"dtype must be float32, got dtype={dtype!r}")
        if vectors is None:
            if len(keys) or vector_size is None:
                raise TypeError(f"{type(self).__name__} takes keys and their vectors, or a vector_size to start empty")
            vectors = np.zeros((0, vector_size), dtype=np.float32)
        self.index_to_key: list[Any] = as_keys(keys)
        self.key_to_index: dict[Any, int] = {key: row for row, key in enumerate(self.index_to_key)}
        if len(self.key_to_index) != len(self.index_to_key):
            twice = next(key for row, key in enumerate(self.index_to_key) if self.key_to_index[key] != row)
            raise ValueError(f"Expected distinct keys, got {twice!r} more than once")
        self._integer_keys = any(isinstance(key, int) for key in self.index_to_key)
        self._device = device
        if device != "cpu":  # the CPU needs no torch to check it
            self._device = self.device
        self.vectors = vectors
        self.vectors_lockf = np.ones(1, dtype=np.float32)
        self.expandos: dict[str, np.ndarray] = {}
        self.counts = counts

    def __getstate__(self) -> dict[str, Any]:
        """Without values computed from the vectors: a copy computes them again."""
        return self.__dict__ | {"_lengths": None, "_table": None}

    @property
    def counts(self) -> np.ndarray | None:
        """How often each key occurred, (V,) int64, or None if unknown; also the attribute "count"."""
        return self.expandos.get("count")

    @counts.setter
    def counts(self, counts: np.ndarray | Sequence[int] | None) -> None:
        if counts is None:
            self.expandos.pop("count", None)
            return
        counts = np.array(counts, dtype=np.int64)  # a copy, so that later changes of the argument have no effect
        if counts.shape != (len(self),):
            raise ValueError(f"Expected {len(self)} counts, one per key, got shape {list(counts.shape)}")
        self.expandos["count"] = counts

    @property
    def vectors(self) -> np.ndarray:
        """The vectors (V, D), float32. After writing into the matrix call ``fill_norms(force=True)``."""
        return self._vectors

    @vectors.setter
    def vectors(self, vectors: np.ndarray) -> None:
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(self.index_to_key):
            raise ValueError(f"Expected vectors of shape [{len(self.index_to_key)}, D], got {list(vectors.shape)}")
        self._vectors = vectors
        self.vectors_changed()

    def vectors_changed(self) -> None:
        """Discard values computed from the vectors; the next similarity computes them again."""
        self._lengths: np.ndarray | None = None
        self._table: CosineTable | None = None

    @property
    def lengths(self) -> np.ndarray:
        """The lengths (V,) of the vectors, as :func:`lengths` computes them."""
        if self._lengths is None:
            self._lengths = lengths(self.vectors)
        return self._lengths

    @property
    def table(self) -> CosineTable:
        """The vectors and their lengths on the device that compares them. Imports torch."""
        if self._table is None:
            from fastrnn.word2vec.vectors.cosine_table import CosineTable

            self._table = CosineTable.of(self.vectors, self.lengths, self.device)
        return self._table

    @property
    def device(self) -> torch.device:
        """The device that computes similarities."""
        import torch

        return torch.device(self._device)

    @property
    def vector_size(self) -> int:
        """D, the dimension of the vectors."""
        return self.vectors.shape[1]

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return self._row(key) is not None

    def __repr__(self) -> str:
        return f"WordVectors<vector_size={self.vector_size}, {len(self)} keys>"

    def __getitem__(self, key: Key | Sequence[Key]) -> np.ndarray:
        """The vector (D,) of a key, read-only; for a list of keys a copy of their vectors, (n, D)."""
        if isinstance(key, (str, int, np.integer)):
            return self.get_vector(key)
        return self.vectors[[self.get_index(each) for each in key]]

    if not TYPE_CHECKING:  # else a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute(self, name)

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
        self._lengths = self.lengths

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
