"""The smoothing methods, and the choice of their parameters.

S. F. Chen and J. Goodman, An empirical study of smoothing techniques for language modeling, TR-10-98, Harvard, 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastrnn.train._names import unknown
from fastrnn.train.models.kneser_ney import Discounts, checked_discounts, kneser_ney
from fastrnn.train.models.ngram_counts import ABSENT, Integers, NGramCounts
from fastrnn.train.models.ngram_tables import Numbers, Tables, at

METHODS = ("ml", "add-k", "interpolated", "kneser-ney")


@dataclass(frozen=True)
class Smoothing:
    """A smoothing method by name, with its parameters; see :class:`fastrnn.train.models.NGram`."""

    method: str
    order: int
    k: float = 1.0
    weights: Sequence[float] | None = None
    discounts: Sequence[Discounts] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("smoothing", self.method, METHODS)
        if not 0 < self.k < float("inf"):
            raise ValueError(f'k must be positive, got {self.k}; for no smoothing, use smoothing="ml"')
        weights = [0.5] * self.order if self.weights is None else list(map(float, self.weights))
        if len(weights) != self.order or not all(0 <= weight <= 1 for weight in weights):
            raise ValueError(f"weights must be {self.order} numbers from 0 to 1, got {self.weights}")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "discounts", checked_discounts(self.discounts, self.order))

    def tables(self, counts: NGramCounts) -> Tables:
        """The probabilities from these counts."""
        if self.method == "ml":
            return maximum_likelihood(counts)
        if self.method == "add-k":
            return add_k(counts, self.k)
        if self.method == "interpolated":
            return interpolated(counts, self.weights or ())
        return kneser_ney(counts, self.discounts)

    def tuned(self, counts: NGramCounts, histories: list[Integers], ngrams: list[Integers]) -> Smoothing:
        """The same method with the parameters that make a held-out text most probable."""
        if self.method == "add-k":
            return replace(self, k=best_k(counts, histories, ngrams))
        if self.method == "interpolated":
            return replace(self, weights=best_weights(counts, histories, ngrams))
        raise ValueError(f'smoothing={self.method!r} has no parameters to tune; "add-k" and "interpolated" have')


def _relative(counts: NGramCounts, length: int) -> tuple[Numbers, NDArray[np.bool_]]:
    """count(h w) / count(h), and which histories were followed by any word."""
    totals = counts.totals(length)
    return counts.counts[length - 1] / np.maximum(totals, 1)[counts.parents(length)], totals > 0


def maximum_likelihood(counts: NGramCounts) -> Tables:
    """P(w | h) = count(h w) / count(h). A history that never occurred is shortened until it did."""
    levels = [_relative(counts, length) for length in range(1, counts.order + 1)]
    return Tables([share for share, _ in levels], [np.where(seen, 0.0, 1.0) for _, seen in levels])


def add_k(counts: NGramCounts, k: float) -> Tables:
    """P(w | h) = (count(h w) + k) / (count(h) + k V); with k = 1 it is Laplace's rule."""
    share, rest = [], []
    for length in range(1, counts.order + 1):
        denominator = counts.totals(length).astype(np.float64) + k * counts.words
        share.append(counts.counts[length - 1] / denominator[counts.parents(length)])
        rest.append(k * counts.words / denominator)
    return Tables(share, rest, uniform=True)


def interpolated(counts: NGramCounts, weights: Sequence[float]) -> Tables:
    """F. Jelinek and R. Mercer, 1980: P(w | h) = weight count(h w) / count(h) + (1 - weight) P(w | h').

    ``weights`` has one for each length of n-gram, from single words up.
    """
    levels = [_relative(counts, length) for length in range(1, counts.order + 1)]
    share: list[Numbers] = [weight * relative for weight, (relative, _) in zip(weights, levels, strict=True)]
    rest = [np.where(seen, 1 - weight, 1.0) for weight, (_, seen) in zip(weights, levels, strict=True)]
    return Tables(share, rest)


def best_k(counts: NGramCounts, histories: list[Integers], ngrams: list[Integers]) -> float:
    """The k of add-k that makes a held-out text most probable, to one part in a thousand."""
    words = counts.words
    seen = np.zeros(ngrams[0].shape)
    total = np.zeros(ngrams[0].shape)
    for length, (history, ngram) in enumerate(zip(histories, ngrams, strict=True), 1):
        longest = history != ABSENT
        seen = np.where(longest, at(counts.counts[length - 1].astype(float), ngram, 0.0), seen)
        total = np.where(longest, at(counts.totals(length).astype(float), history, 0.0), total)

    def loss(log_k: float) -> float:
        k = np.exp(log_k)
        return -float(np.log((seen + k) / (total + k * words)).sum())

    low, high, golden = np.log(1e-9), np.log(1e3), (5**0.5 - 1) / 2
    while high - low > 1e-3:  # golden section search; the loss falls, then rises
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def best_weights(counts: NGramCounts, histories: list[Integers], ngrams: list[Integers]) -> list[float]:
    """The weights of :func:`interpolated` that make a held-out text most probable, by expectation maximization.

    A word is drawn by going down from the longest history and stopping at each length with the probability of its
    weight. The expectation is the share of words that stop at a length among those that reach it.
    """
    levels = [_relative(counts, length) for length in range(1, counts.order + 1)]
    shares = [at(share, ngram, 0.0) for (share, _), ngram in zip(levels, ngrams, strict=True)]
    seen = [at(seen.astype(float), history, 0.0) > 0 for (_, seen), history in zip(levels, histories, strict=True)]
    weights = np.full(counts.order, 0.5)
    for _ in range(200):
        p = [np.full(ngrams[0].shape, 1 / counts.words)]
        for weight, share, has in zip(weights, shares, seen, strict=True):
            p.append(np.where(has, weight * share + (1 - weight) * p[-1], p[-1]))
        before = weights.copy()
        reach = np.ones(ngrams[0].shape)
        for i in reversed(range(counts.order)):
            stop = np.where(seen[i], reach * weights[i] * shares[i] / p[i + 1], 0.0)
            come = reach[seen[i]].sum()
            reach = reach - stop
            weights[i] = stop.sum() / come if come else weights[i]
        if np.abs(weights - before).max() < 1e-4:
            break
    return [float(weight) for weight in weights]
