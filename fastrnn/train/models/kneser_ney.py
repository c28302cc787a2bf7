"""Interpolated, modified Kneser-Ney smoothing: S. F. Chen and J. Goodman, TR-10-98, Harvard, 1998, section 3.

Two ideas: every count is discounted, and the freed probability goes to the shorter history; and in a shorter history it
counts after how many different words a word occurred, not how often: "Francisco" is frequent, but only after "San".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastrnn.train.models.ngram_counts import Integers, NGramCounts
from fastrnn.train.models.ngram_tables import Tables

Discounts = tuple[float, float, float]

# For texts that are too small to estimate discounts. Any discounts of at most the counts give probabilities that sum to
# one.
FALLBACK: Discounts = (0.5, 1.0, 1.5)


def continuation_counts(counts: NGramCounts) -> list[Integers]:
    """The number of different words that precede each n-gram; the longest n-grams keep their counts.

    So do n-grams without a preceding word, at the beginning of a sentence or of the text.
    """
    result, suffixes = [], counts.suffixes()
    for length in range(1, counts.order):
        own = counts.counts[length - 1]
        preceding = np.bincount(suffixes[length], minlength=len(own))
        result.append(np.where(preceding > 0, preceding, own))
    return [*result, counts.counts[-1]]


def estimated_discounts(counts: Integers) -> Discounts:
    """The discounts of counts of one, two, and three or more: Chen and Goodman's equations."""
    n1, n2, n3, n4 = (int((counts == i).sum()) for i in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return discounts if all(0 <= d <= i for i, d in enumerate(discounts, 1)) else FALLBACK


def kneser_ney(counts: NGramCounts, discounts: Sequence[Discounts] | None = None) -> Tables:
    """P(w | h) = (count(h w) - D(count(h w))) / count(h) + rest(h) P(w | h'), with discounts D for each length."""
    share, rest = [], []
    for length, count in enumerate(continuation_counts(counts), 1):
        discount = estimated_discounts(count) if discounts is None else discounts[length - 1]
        taken = np.array([0.0, *discount])[np.minimum(count, 3)]
        parents, total = counts.parents(length), counts.totals(length, count)
        share.append((count - taken) / np.maximum(total, 1)[parents])
        freed = np.bincount(parents, weights=taken, minlength=len(total))
        rest.append(np.where(total > 0, freed / np.maximum(total, 1), 1.0))
    return Tables(share, rest)


def checked_discounts(discounts: Sequence[Discounts] | None, order: int) -> list[Discounts] | None:
    """The discounts as tuples; a discount must not exceed its count."""
    if discounts is None:
        return None
    three = all(len(each) == 3 and all(0 <= d <= i for i, d in enumerate(each, 1)) for each in discounts)
    if len(discounts) != order or not three:
        raise ValueError(
            f"discounts must be three numbers for each of {order} lengths, at most 1, 2 and 3, such as "
            f"{[FALLBACK] * order}; got {discounts}"
        )
    return [(float(one), float(two), float(more)) for one, two, more in discounts]
