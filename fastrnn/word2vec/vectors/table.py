"""Keys and their vectors: the table under :class:`fastrnn.word2vec.WordVectors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn.word2vec.cached import cached
from fastrnn.word2vec.gensim_names import missing_attribute
from fastrnn.word2vec.vectors.keys import Key, as_keys
from fastrnn.word2vec.vectors.norms import lengths

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
        return vars(self) | {"_cached": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _cached={})  # which pickles of earlier versions lack

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
        self._cached: dict[str, Any] = {}

    @cached
    def lengths(self) -> np.ndarray:
        """The lengths (V,) of the vectors, as :func:`lengths` computes them."""
        return lengths(self.vectors)

    @cached
    def table(self) -> CosineTable:
        """The vectors and their lengths on the device that compares them. Imports torch."""
        from fastrnn.word2vec.vectors.cosine_table import CosineTable

        return CosineTable.of(self.vectors, self.lengths, self.device)

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

    def __repr__(self) -> str:
        return f"WordVectors<vector_size={self.vector_size}, {len(self)} keys>"

    if not TYPE_CHECKING:  # else a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            raise missing_attribute(self, name)
