"""Predicting the centre word of a context: the softmax over all words, which negative sampling approximates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastrnn.word2vec.model import Word2Vec


def output_words(model: Word2Vec, context: Sequence[str | int], topn: int) -> list[tuple[str, float]]:
    """See :meth:`fastrnn.word2vec.Word2Vec.predict_output_word`."""
    outputs = model.parameters.syn1neg
    if outputs is None:
        raise ValueError("predict_output_word needs output vectors, which are trained only with negative > 0")
    rows = [model.wv.get_index(word) for word in context if word in model.wv]
    if not rows:
        raise ValueError(f"Expected a context with at least one word of the vocabulary, got {list(context)}")
    vectors = model.parameters.syn0[rows]
    scores = outputs @ (vectors.mean(axis=0) if model.settings.cbow_mean else vectors.sum(axis=0))
    odds = np.exp(scores.astype(np.float64) - scores.max())
    best = np.argsort(-odds, kind="stable")[: max(topn, 0)].tolist()
    return [(model.wv.index_to_key[row], float(odds[row] / odds.sum())) for row in best]
