"""Subsampling of frequent words and drawing of negatives: the tables behind the training kernel's random choices.

The kernel's choices depend only on the seed, the epoch and the position in the corpus
(csrc/word2vec/training/random.h). :func:`split_mix` and :func:`choices` make the same choices in numpy, for the
reference trainer and the tests.
"""

from __future__ import annotations

import numpy as np

U64 = np.uint64
CERTAIN = 2**32 - 1


def keep_thresholds(counts: np.ndarray, sample: float) -> np.ndarray:
    """For each word the largest 32-bit random number with which it is kept.

    This is word2vec.c's formula, which differs from arXiv:1310.4546, section 2.3: a word of frequency f is kept with
    probability sqrt(t / f) + t / f, where t is ``sample``. As in gensim, a ``sample`` of 1 or more is a count, not a
    frequency. ``sample=0`` keeps all words.

    Args:
        counts: (V,) of integers.
    Returns:
        (V,) of uint32.
    """
    counts = np.asarray(counts, dtype=np.float64)
    if sample <= 0:
        return np.full(len(counts), CERTAIN, dtype=np.uint32)
    threshold = sample * counts.sum() if sample < 1 else sample * (3 + np.sqrt(5)) / 2
    ratio = threshold / np.maximum(counts, 1)  # a word added by hand has count 0: treat it as rare
    probability = np.sqrt(ratio) + ratio
    return np.clip(np.round(probability * 2.0**32) - 1, 0, CERTAIN).astype(np.uint32)


def noise_weights(counts: np.ndarray, exponent: float) -> np.ndarray:
    """Weights (V,) for drawing words as negatives: count ** exponent (arXiv:1310.4546, section 2.2).

    Words with count 0 are never drawn.

    Raises:
        ValueError: the weights overflow or underflow for this exponent, or all counts are 0.
    """
    weights = np.zeros(len(counts))
    seen = counts > 0
    with np.errstate(over="ignore", under="ignore"):
        weights[seen] = counts[seen].astype(np.float64) ** exponent
        total = weights.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"ns_exponent={exponent} gives sampling weights, count ** ns_exponent, whose sum is {total}")
    return weights


def alias_table(weights: np.ndarray) -> np.ndarray:
    """The table of Walker's alias method (A. J. Walker, 1977; M. D. Vose, 1991), to draw indices by their weights.

    Draw an index uniformly. Keep it if 32 random bits are at most ``table[index, 0]``, else take ``table[index, 1]``.

    Args:
        weights: (V,), finite and not negative, with a positive sum.
    Returns:
        (V, 2) of uint32.
    Raises:
        ValueError: the weights do not satisfy this.
    """
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and 0 < weights.sum() < np.inf):
        raise ValueError("sampling weights must be finite, 0 or more and not all 0; check the counts of the vocabulary")
    share = weights * (len(weights) / weights.sum())
    keep = np.full(len(weights), CERTAIN, dtype=np.uint32)
    other = np.arange(len(weights), dtype=np.int32)
    small = [i for i, s in enumerate(share) if s < 1]
    large = [i for i, s in enumerate(share) if s >= 1]
    share = share.tolist()
    while small and large:
        poor, rich = small.pop(), large[-1]
        keep[poor] = max(round(share[poor] * 2**32) - 1, 0)
        other[poor] = rich
        share[rich] -= 1 - share[poor]
        if share[rich] < 1:
            small.append(large.pop())
    return np.stack([keep, other.astype(np.uint32)], axis=1)


def split_mix(state: int | np.ndarray, step: int | np.ndarray) -> np.ndarray:
    """Output number ``step`` of SplitMix64 started from ``state`` (G. L. Steele, D. Lea and C. H. Flood, 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(state, dtype=U64) + (np.asarray(step, dtype=U64) + U64(1)) * U64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
        return z ^ (z >> U64(31))


def epoch_key(seed: int, epoch: int) -> int:
    """The state that an epoch's random numbers are generated from."""
    return int(split_mix(int(split_mix(seed % 2**64, 0)), epoch))


def choices(key: int, position: int, negative: int, window: int, alias: np.ndarray):
    """What the kernel draws for the word at ``position`` in the corpus.

    Returns:
        32 random bits for subsampling, to compare with :func:`keep_thresholds`; the reach of the shrunken window, from
        1 to ``window``; and the negatives, (``negative``,) of integers.
    """
    keep, other = alias.T
    random = int(split_mix(key, position))
    draws = split_mix(random, np.arange(negative)) if negative else np.zeros(0, dtype=U64)
    column = ((draws & U64(CERTAIN)) * U64(len(keep))) >> U64(32)
    column = column.astype(np.int64)
    negatives = np.where((draws >> U64(32)) <= keep[column], column, other[column])
    return random & CERTAIN, 1 + ((random >> 32) * window >> 32), negatives
