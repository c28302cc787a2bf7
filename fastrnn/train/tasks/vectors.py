"""Word vectors of the training text, to initialise an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def word2vec(settings: Any, sentences: Sequence[Sequence[str]]) -> Any:
    """Skip-gram vectors of the sentences, of size ``settings.embedding``, from ``settings.word2vec`` epochs.

    None for 0 epochs. It uses one thread, so that the result depends only on the seed.
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
