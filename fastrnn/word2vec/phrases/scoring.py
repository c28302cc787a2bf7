"""Phrases scored by a Python function of the user, called for every pair of neighbouring words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fastrnn.word2vec import _C

# A scoring function's keyword arguments, as in gensim: counts of the first word, the last word and the phrase; the
# number of distinct words and pairs; min_count of the Phrases; words in the corpus.
ARGUMENTS = ("worda_count", "wordb_count", "bigram_count", "len_vocab", "min_count", "corpus_word_count")
Scoring = Callable[..., float]
# The score of a phrase, by its first word, last word and text; None for no phrase.
Score = Callable[[str, str, str], float | None]


def check_scoring(scoring: Any) -> None:
    """Raise ValueError unless ``scoring`` is a known name or a function that takes these arguments."""
    if isinstance(scoring, str):
        if scoring not in ("default", "npmi"):
            raise ValueError(f"scoring must be 'default', 'npmi' or a function, got {scoring!r}")
        return
    if not callable(scoring):
        raise ValueError(f"scoring must be 'default', 'npmi' or a function, got {scoring!r}")
    parameters = inspect.signature(scoring).parameters
    takes_any = any(each.kind == inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    missing = [name for name in ARGUMENTS if name not in parameters]
    if missing and not takes_any:
        raise ValueError(f"a scoring function must take {', '.join(ARGUMENTS)}; missing: {', '.join(missing)}")


def score_of_counts(
    scoring: Scoring, vocab: dict[str, int], min_count: float, corpus_word_count: int, threshold: float
) -> Score:
    """A function of first word, last word and joined text that calls ``scoring`` with their counts.

    It returns None where one of the three was not counted, or the score is not above ``threshold``.
    """

    def score(first: str, last: str, joined: str) -> float | None:
        counts = [vocab.get(text, 0) for text in (first, last, joined)]
        if 0 in counts:
            return None
        found = scoring(
            worda_count=counts[0],
            wordb_count=counts[1],
            bigram_count=counts[2],
            len_vocab=len(vocab),
            min_count=min_count,
            corpus_word_count=corpus_word_count,
        )
        return found if found > threshold else None

    return score


class ScoredJoiner:
    """Does what ``_C.PhraseJoiner`` does, with a score computed in Python: in one thread, at Python's speed.

    Args:
        score: a function of the first word, the last word and the joined text; None means it is not a phrase.
    """

    def __init__(self, delimiter: str, connectors: Iterable[str], score: Score) -> None:
        self.delimiter, self.connectors, self.score = delimiter, frozenset(connectors), score
        self.known: dict[tuple[str, str, str], bool] = {}

    def join_sentence(self, sentence: Iterable[str]) -> list[str]:
        words = list(sentence)
        return [words[i] if i == j else self.delimiter.join(words[i : j + 1]) for i, j in self.runs(words)]

    def join_sentences(self, sentences: Iterator[Sequence[str]], threads: int) -> list[list[str]]:
        for sentence in sentences:
            return [self.join_sentence(sentence)]
        return []

    def join_text(self, text: Any, cuts: list[int], threads: int) -> list[bytes]:
        joined = []
        for line in bytes(text[cuts[0] : cuts[-1]]).split(b"\n"):
            words = [word.decode(errors="replace") for word in line.split()]
            for start in range(0, len(words), _C.WORDS_PER_SENTENCE):
                sentence = self.join_sentence(words[start : start + _C.WORDS_PER_SENTENCE])
                joined.append(f"{' '.join(sentence)}\n".encode())
        return joined

    def phrases_of(self, sentence: Iterable[str]) -> list[tuple[str, str, str]]:
        words = list(sentence)
        return [(words[i], words[j], self.delimiter.join(words[i : j + 1])) for i, j in self.runs(words) if i < j]

    def runs(self, words: list[str]) -> Iterator[tuple[int, int]]:
        """The first and last index of every word and phrase of a sentence."""
        start = -1  # the word that may begin a phrase; connectors may follow it
        for i, word in enumerate(words):
            if word in self.connectors:
                if start < 0:
                    yield i, i
            elif start >= 0 and self.is_phrase(words[start : i + 1]):
                yield start, i
                start = -1
            else:
                yield from ((j, j) for j in range(start, i) if start >= 0)
                start = i
        yield from ((j, j) for j in range(start, len(words)) if start >= 0)

    def is_phrase(self, words: list[str]) -> bool:
        key = words[0], words[-1], self.delimiter.join(words)
        if key not in self.known:
            self.known[key] = self.score(*key) is not None
        return self.known[key]
