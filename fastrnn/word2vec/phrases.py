"""Phrases: neighbours that are one word, found by their counts (Mikolov et al., 2013, arXiv:1310.4546, section 4)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus import Sentences, check_corpus, checked_workers, default_workers
from fastrnn.word2vec.files import opened, replacing
from fastrnn.word2vec.joining import Joining
from fastrnn.word2vec.reading import blocks

_FORMAT = "fastrnn phrases 1"
_FROZEN_FORMAT = "fastrnn frozen phrases 1"


class Phrases(Joining):
    """Find phrases in a corpus and join them in any text: ``new york`` becomes ``new_york``.

    Two words a, b that stand together make a phrase if all of a, b and a_b were counted and the score of the pair is
    above ``threshold``. With ``scoring="default"`` that is ``(n_ab - min_count) / (n_a * n_b) * V`` (Mikolov's equation
    6 times the number V of all that was counted, words and pairs), with ``"npmi"`` the normalised pointwise mutual
    information, from -1 to 1, for pairs that occur ``min_count`` times or more (Bouma, 2009).

    The numbers are those of gensim's class of that name, but that a corpus of one single pair has no npmi here, where
    gensim divides by zero.

    Args:
        sentences: an iterable of lists of words; None counts nothing yet.
        corpus_file: a file in its place, as in :mod:`fastrnn.word2vec.corpus`.
        max_vocab_size: bounds the memory: with more words and pairs than this, the rare ones are forgotten.
        delimiter: what a phrase is joined with.
        connector_words: words that a phrase may contain (``bank of america``), but not begin or end with.
        workers: threads that read files; the result is the same for any number.

    Raises:
        ValueError: ``scoring`` is unknown, ``min_count`` is less than 1, ``threshold`` is not positive (default
            scoring) or not within [-1, 1] (npmi).
        TypeError, OSError, ValueError: the corpus, as in :mod:`fastrnn.word2vec.corpus`.
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        scoring: str = "default",
        connector_words: Iterable[str] = frozenset(),
        corpus_file: str | os.PathLike[str] | None = None,
        workers: int | None = None,
    ) -> None:
        if scoring not in ("default", "npmi"):
            raise ValueError(f"scoring must be 'default' or 'npmi', got {scoring!r}")
        if min_count < 1:
            raise ValueError(f"min_count must be 1 or more, got {min_count}")
        if scoring == "default" and threshold <= 0:
            raise ValueError(f"threshold must be positive, got {threshold}")
        if scoring == "npmi" and not -1 <= threshold <= 1:
            raise ValueError(f"threshold must be between -1 and 1 for npmi, got {threshold}")
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        if max_vocab_size < 1:
            raise ValueError(f"max_vocab_size must be 1 or more, got {max_vocab_size}")
        self.min_count, self.threshold, self.max_vocab_size = min_count, threshold, max_vocab_size
        self.delimiter, self.scoring = delimiter, scoring
        self.connector_words = frozenset(connector_words)
        self.workers = checked_workers(workers)
        self._options = _C.PhraseOptions(
            min_count, threshold, max_vocab_size, delimiter, scoring == "npmi", sorted(self.connector_words)
        )
        self._phrases = _C.Phrases(self._options)
        self._known: _C.PhraseJoiner | None = None  # made when it is needed
        if sentences is not None or corpus_file is not None:
            self.add_vocab(sentences, corpus_file)

    def add_vocab(self, sentences: Sentences | None = None, corpus_file: str | os.PathLike[str] | None = None) -> None:
        """Add the counts of another corpus. If it cannot be read to its end, nothing is added."""
        check_corpus(sentences, corpus_file)
        counter = _C.PhraseCounter(self._options, self.workers)
        if sentences is not None:
            counter.count_sentences(sentences)
        elif corpus_file is not None:
            for text, cuts in blocks(corpus_file):
                counter.count(text, cuts)
        self._phrases.add(counter)
        self._known = None

    def _joiner(self) -> _C.PhraseJoiner:
        if self._known is None:
            self._known = _C.PhraseJoiner(self._phrases)
        return self._known

    def _score(self, first: str, last: str, joined: str) -> float:
        return self._phrases.score(first, last, joined)

    def export_phrases(self) -> dict[str, float]:
        """All phrases that were found, in the order of their first appearance, and their scores."""
        return self._phrases.phrases()

    def freeze(self) -> FrozenPhrases:
        """The phrases without the counts: all that joining them needs."""
        return FrozenPhrases(self)

    @property
    def vocab(self) -> dict[str, int]:
        """Words and pairs and how often each was counted (a copy)."""
        words, counts = self._phrases.counts()
        return dict(zip(words, counts, strict=True))

    @property
    def corpus_word_count(self) -> int:
        """Words of all corpora, connector words among them."""
        return self._phrases.total_words

    def __len__(self) -> int:
        return self._phrases.size

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file of JSON, beside its name and then renamed."""
        words, counts = self._phrases.counts()
        numbers = {"total_words": self.corpus_word_count, "least": self._phrases.least}
        options = _options(self) | {"max_vocab_size": self.max_vocab_size}
        _write(path, _FORMAT, {"options": options, **numbers, "words": words, "counts": counts})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is another one, or damaged.
        """
        try:
            saved = _read(path, _FORMAT)
            phrases = cls(**saved["options"])
            phrases._phrases.restore(saved["words"], saved["counts"], saved["total_words"], saved["least"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a whole file of {_FORMAT!r}: {error!r}") from error
        return phrases


class FrozenPhrases(Joining):
    """The phrases that a :class:`Phrases` found and no more: small, but nothing can be added to it.

    As in gensim, a phrase is then known by its text: with words that have the delimiter in them, ``new_york city`` is
    one where ``new york_city`` is.

    Attributes:
        phrasegrams: the phrases and their scores, which cannot be changed.
    """

    def __init__(self, phrases_model: Phrases) -> None:
        self._set(_options(phrases_model), phrases_model.export_phrases(), phrases_model.workers)

    def _set(self, options: dict[str, Any], phrasegrams: dict[str, float], workers: int) -> None:
        self.min_count, self.threshold = options["min_count"], options["threshold"]
        self.delimiter, self.scoring = options["delimiter"], options["scoring"]
        self.connector_words = frozenset(options["connector_words"])
        self.phrasegrams: Mapping[str, float] = MappingProxyType(phrasegrams)
        self.workers = workers
        self._known = _C.PhraseJoiner(self.delimiter, sorted(self.connector_words), list(phrasegrams))

    def _joiner(self) -> _C.PhraseJoiner:
        return self._known

    def _score(self, first: str, last: str, joined: str) -> float:
        return self.phrasegrams[joined]

    def __len__(self) -> int:
        return len(self.phrasegrams)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file of JSON, beside its name and then renamed."""
        _write(path, _FROZEN_FORMAT, {"options": _options(self), "phrasegrams": dict(self.phrasegrams)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FrozenPhrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is another one, or damaged.
        """
        frozen = cls.__new__(cls)
        try:
            saved = _read(path, _FROZEN_FORMAT)
            frozen._set(saved["options"], saved["phrasegrams"], default_workers())
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a whole file of {_FROZEN_FORMAT!r}: {error!r}") from error
        return frozen


Phraser = FrozenPhrases
"""gensim's older name."""


def _options(phrases: Phrases | FrozenPhrases) -> dict[str, Any]:
    names = ("min_count", "threshold", "delimiter", "scoring")
    return {name: getattr(phrases, name) for name in names} | {"connector_words": sorted(phrases.connector_words)}


def _write(path: str | os.PathLike[str], form: str, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps({"format": form} | content, ensure_ascii=False).encode())


def _read(path: str | os.PathLike[str], form: str) -> dict[str, Any]:
    with opened(path) as file:
        saved = json.loads(file.read())
    if saved["format"] != form:
        raise ValueError(f"its format is {saved['format']!r}")
    return saved
