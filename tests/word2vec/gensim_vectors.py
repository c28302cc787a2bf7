"""Small tables of vectors for the tests, and the same tables in gensim."""

from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import WordVectors

KEYS = ["cat", "dog", "tea", "wine", "nothing"]
MATRIX = np.array([[2, 0], [1, 1], [0, 3], [-1, 1], [0, 0]], dtype=np.float32)


def random_vectors(rows: int, size: int, device: str = "cpu") -> WordVectors:
    numbers = np.random.default_rng(1).standard_normal((rows, size)).astype(np.float32)
    return WordVectors([f"w{row}" for row in range(rows)], numbers, device=device)


def twin(vectors: WordVectors) -> Any:
    """gensim's KeyedVectors with the same keys and vectors."""
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")
    theirs = models.KeyedVectors(vectors.vector_size)
    theirs.add_vectors(vectors.index_to_key, vectors.vectors.copy())
    return theirs


def same(ours: list[tuple[str, float]], theirs: list[tuple[str, float]]) -> None:
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    assert [value for _, value in ours] == pytest.approx([value for _, value in theirs], abs=1e-6)
