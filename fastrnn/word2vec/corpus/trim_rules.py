"""Which of the counted words enter the vocabulary: the frequent ones, or those that a rule chooses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# What a trim_rule returns, with gensim's names and values: apply min_count, discard the word, or keep it.
RULE_DEFAULT, RULE_DISCARD, RULE_KEEP = 0, 1, 2

TrimRule = Callable[[str, int, int], int]


def least_count(counts: np.ndarray, min_count: int, max_final_vocab: int | None) -> int:
    """The count that a word needs: ``min_count``, or more where that would keep more than ``max_final_vocab`` words.

    Of words with equal counts, all are kept or none.
    """
    if max_final_vocab is None or np.count_nonzero(counts >= min_count) <= max_final_vocab:
        return min_count
    return max(min_count, int(np.sort(counts)[::-1][max_final_vocab]) + 1)


def kept(words: list[str], counts: np.ndarray, least: int, rule: TrimRule | None) -> list[int]:
    """The indices of the words that are kept, most frequent first; words of equal count stay in their order.

    Args:
        rule: called with (word, count, least) for every word.

    Raises:
        ValueError: the rule returns anything but one of the three constants or None.
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
