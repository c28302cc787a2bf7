"""Word vectors of a task's own training text, for an embedding to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def word2vec(settings: Any, sentences: Sequence[Sequence[str]]) -> Any:
    """Skip-gram vectors of the sentences, of the size of ``settings.embedding``, from ``settings.word2vec`` epochs.

    None for 0 epochs. One thread, so that the seed decides the vectors.
    """
    if not settings.word2vec:
        return None
    from fastrnn.word2vec import Word2Vec

    return Word2Vec(
        [list(sentence) for sentence in sentences],
        vector_size=settings.embedding,
        sg=1,
        min_count=settings.min_count,
        epochs=settings.word2vec,
        seed=settings.seed + 1,
        workers=1,
    )
