"""From counts to probabilities: every smoothing method fills the same two tables.

With h the history, w the next word and h' the history without its first word,

    P(w | h) = share(h w) + rest(h) P(w | h')

where ``share`` is stored for the n-grams that occurred and is 0 for others, and ``rest`` is what remains for the
shorter history. Below the empty history all words are equally likely. A history that never occurred has rest 1.

S. F. Chen and J. Goodman, An empirical study of smoothing techniques for language modeling, TR-10-98, Harvard, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastrnn.train.models.ngram_counts import ABSENT, Integers, NGramCounts

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """``share`` and ``rest`` for each length. ``uniform``: all words share the rest equally, as in add-k."""

    share: list[Numbers]
    rest: list[Numbers]
    uniform: bool = False

    def of_words(self, counts: NGramCounts, histories: list[Integers], ngrams: list[Integers]) -> Numbers:
        """The probability of each word of a text, from the indices that :meth:`NGramCounts.walk` found."""
        p = np.full(ngrams[0].shape, 1 / counts.words)
        for share, rest, history, ngram in zip(self.share, self.rest, histories, ngrams, strict=True):
            p = self._level(p, at(share, ngram, 0.0), rest, history, counts.words)
        return p

    def of_all(self, counts: NGramCounts, state: Integers) -> Numbers:
        """The probability (B, V) of every word after the histories in ``state`` (order, B)."""
        p = np.full((state.shape[1], counts.words), 1 / counts.words)
        for length, (share, rest, history) in enumerate(zip(self.share, self.rest, state, strict=True), 1):
            p = self._level(p, 0.0, rest, history[:, None], counts.words)
            row, place = counts.following(length, history)
            p[row, counts.keys[length - 1][place] % counts.words] += share[place]
        return p

    def _level(self, shorter: Numbers, share: Numbers | float, rest: Numbers, history: Integers, words: int) -> Numbers:
        """One length further: P(w | h) from P(w | h')."""
        if self.uniform:
            shorter = np.where(history == ABSENT, shorter, 1 / words)
        return share + at(rest, history, 1.0) * shorter


def at(values: Numbers, place: Integers, otherwise: float) -> Numbers:
    """``values[place]``, or ``otherwise`` for UNSEEN and ABSENT."""
    if not len(values):
        return np.full(place.shape, otherwise)
    return np.where(place >= 0, values[np.maximum(place, 0)], otherwise)
