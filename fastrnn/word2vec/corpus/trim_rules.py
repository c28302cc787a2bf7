"""Which of the words that were counted make the vocabulary: the frequent ones, or those that a rule chooses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# What a trim_rule returns, with gensim's names and numbers: leave it to min_count, leave the word out, or keep it.
RULE_DEFAULT, RULE_DISCARD, RULE_KEEP = 0, 1, 2

TrimRule = Callable[[str, int, int], int]


def least_count(counts: np.ndarray, min_count: int, max_final_vocab: int | None) -> int:
    """How often a word has to occur: ``min_count``, or more if otherwise more than ``max_final_vocab`` words would.

    Of words of equal count either all are in the vocabulary or none.
    """
    if max_final_vocab is None or np.count_nonzero(counts >= min_count) <= max_final_vocab:
        return min_count
    return max(min_count, int(np.sort(counts)[::-1][max_final_vocab]) + 1)


def kept(words: list[str], counts: np.ndarray, least: int, rule: TrimRule | None) -> list[int]:
    """The places of the words that are kept, the most frequent first, those of equal count in their order.

    Args:
        rule: called with (word, count, least) for every word.

    Raises:
        ValueError: the rule returns something else than one of the three.
    """
    keep = counts >= least
    if rule is not None:
        answers = np.full(len(words), RULE_DEFAULT)
        for i, (word, count) in enumerate(zip(words, counts.tolist(), strict=True)):
            answer = rule(word, count, least)
            if isinstance(answer, bool) or answer not in (None, RULE_DEFAULT, RULE_DISCARD, RULE_KEEP):
                raise ValueError(
                    f"trim_rule must return RULE_DEFAULT, RULE_DISCARD or RULE_KEEP (0, 1 or 2), got {answer!r} for "
                    f"{word!r}"
                )
            answers[i] = answer or RULE_DEFAULT
        keep = np.where(answers == RULE_DEFAULT, keep, answers == RULE_KEEP)
    places = np.flatnonzero(keep)
    return places[np.argsort(-counts[places], kind="stable")].tolist()
