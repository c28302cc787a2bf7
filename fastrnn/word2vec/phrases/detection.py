"""Finding phrases by counting neighbouring words (Mikolov et al., 2013, arXiv:1310.4546, section 4)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fastrnn.word2vec import _C
from fastrnn.word2vec.cached import cached
from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers
from fastrnn.word2vec.corpus.text_blocks import blocks
from fastrnn.word2vec.files.json_fields import count, strings
from fastrnn.word2vec.phrases.frozen import FrozenPhrases
from fastrnn.word2vec.phrases.frozen import Phraser as Phraser
from fastrnn.word2vec.phrases.joining import Joining
from fastrnn.word2vec.phrases.saved import checked_options, options_of, reading, write
from fastrnn.word2vec.phrases.scoring import ScoredJoiner, Scoring, score_of_counts
from fastrnn.word2vec.phrases.settings import NAMES, PhraseSettings

_FORMAT = "fastrnn phrases 1"


class Phrases(Joining):
    """Find phrases in a corpus and join them in any text: ``new york`` becomes ``new_york``.

    Two neighbouring words a, b are a phrase if a, b and a_b were all counted and the score of the pair is above
    ``threshold``. With ``scoring="default"`` the score is ``(n_ab - min_count) / (n_a * n_b) * V``: Mikolov's equation
    6 times V, the number of distinct words and pairs. With ``"npmi"`` it is the normalised pointwise mutual
    information, from -1 to 1, of pairs that occur ``min_count`` times or more (Bouma, 2009). ``scoring`` may also be a
    function of gensim's six keyword arguments (``phrases.scoring.ARGUMENTS``); joining then runs in Python, as slowly
    as in gensim, unless the phrases are frozen.

    Counts and scores equal those of gensim's class of the same name, with one exception: in a corpus of a single pair
    there is no npmi here, where gensim divides by zero.

    Args:
        sentences: an iterable of lists of words. Without it and ``corpus_file`` nothing is counted yet.
        corpus_file: a text file instead, as in :mod:`fastrnn.word2vec.corpus.encoding`.
        max_vocab_size: limits memory: with more distinct words and pairs than this, rare ones are discarded.
        delimiter: the text between the words of a joined phrase.
        progress_per: ignored; in gensim, how often progress is logged.
        connector_words: words that a phrase may contain (``bank of america``), but not begin or end with.
        workers: number of threads that read files; the result is the same for any number.

    All settings except ``delimiter`` can be read and set as attributes at any time.

    Raises:
        ValueError: ``scoring`` is neither a known name nor such a function, ``min_count`` is less than 1, or
            ``threshold`` is not positive (default scoring) or not within [-1, 1] (npmi).
        TypeError, OSError, ValueError: for the corpus, as in :mod:`fastrnn.word2vec.corpus.encoding`.
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        min_count: float = 5,
        threshold: float = 10.0,
        max_vocab_size: int = 40_000_000,
        delimiter: str = "_",
        progress_per: int = 10000,
        scoring: str | Scoring = "default",
        connector_words: Iterable[str] = frozenset(),
        corpus_file: str | os.PathLike[str] | None = None,
        workers: int | None = None,
    ) -> None:
        self._settings = PhraseSettings(
            min_count, threshold, max_vocab_size, delimiter, scoring, frozenset(connector_words)
        )
        self.workers = checked_workers(workers)
        self._begin()
        if sentences is not None or corpus_file is not None:
            self.add_vocab(sentences, corpus_file)

    def _begin(self, *counted: Any) -> None:
        """Start without counts, or with those that :meth:`_counted` returned."""
        self._phrases = _C.Phrases(self._settings.for_counting())
        if counted:
            self._phrases.restore(*counted)
        self._cached: dict[str, Any] = {}

    def _counted(self) -> tuple[list[str], list[int], int, int]:
        return (*self._phrases.counts(), self._phrases.total_words, self._phrases.least)

    def __getattr__(self, name: str) -> Any:
        if name in NAMES and "_settings" in self.__dict__:
            return getattr(self._settings, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        """A changed setting applies to whatever is counted, scored and joined from now on."""
        if name == "delimiter":
            raise AttributeError("the counted phrases contain the delimiter, so it cannot be changed; make new Phrases")
        if name not in NAMES:
            return super().__setattr__(name, value)
        settings = replace(self._settings, **{name: value})
        counted = self._counted()
        self._settings = settings
        self._begin(*counted)

    def add_vocab(self, sentences: Sentences | None = None, corpus_file: str | os.PathLike[str] | None = None) -> None:
        """Add the counts of another corpus. If reading it fails, nothing is added."""
        check_corpus(sentences, corpus_file)
        counter = _C.PhraseCounter(self._settings.for_counting(), self.workers)
        if sentences is not None:
            counter.count_sentences(sentences)
        elif corpus_file is not None:
            for text, cuts in blocks(corpus_file):
                counter.count(text, cuts)
        self._phrases.add(counter)
        self._cached = {}

    def _joiner(self) -> Any:
        return self._joiner_of_counts

    @cached
    def _joiner_of_counts(self) -> Any:
        if not callable(self.scoring):
            return _C.PhraseJoiner(self._phrases)
        score = score_of_counts(self.scoring, self.vocab, self.min_count, self.corpus_word_count, self.threshold)
        return ScoredJoiner(self.delimiter, self.connector_words, score)

    def _score(self, first: str, last: str, joined: str) -> Any:
        scored = self._joiner() if callable(self.scoring) else self._phrases
        return scored.score(first, last, joined)

    def score_candidate(
        self, word_a: str, word_b: str, in_between: Iterable[str] = ()
    ) -> tuple[str | None, float | None]:
        """The text and score of two words with connectors between them, or (None, None) if they are not a phrase."""
        joined = self.delimiter.join([word_a, *in_between, word_b])
        score = self._score(word_a, word_b, joined)
        return (None, None) if score is None or math.isnan(score) else (joined, score)

    def export_phrases(self) -> dict[str, float]:
        """All phrases with their scores, in order of first appearance."""
        if not callable(self.scoring):
            return self._phrases.phrases()
        found = {}
        for text in self._phrases.counts()[0]:
            first, *rest = text.split(self.delimiter)
            score = self._score(first, rest[-1], text) if rest else None
            if score is not None:
                found[text] = score
        return found

    def freeze(self) -> FrozenPhrases:
        """The phrases without the counts: just what is needed to join them."""
        return FrozenPhrases(self)

    @property
    def vocab(self) -> dict[str, int]:
        """The count of every word and pair (a copy)."""
        words, counts = self._phrases.counts()
        return dict(zip(words, counts, strict=True))

    @property
    def corpus_word_count(self) -> int:
        """The number of words in all corpora, including connector words."""
        return self._phrases.total_words

    def __len__(self) -> int:
        return self._phrases.size

    def __str__(self) -> str:
        return (
            f"Phrases<{len(self)} vocab, min_count={self.min_count}, threshold={self.threshold}, "
            f"max_vocab_size={self.max_vocab_size}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_cached": {}, "_phrases": self._counted()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        counted = state.pop("_phrases")
        self.__dict__.update(state)
        self._begin(*counted)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file. An existing file is replaced only once the new one is complete."""
        if callable(self.scoring):
            raise ValueError("a JSON file cannot hold a scoring function; use pickle, or save the result of freeze()")
        words, counts, total_words, least = self._counted()
        options = options_of(self) | {"max_vocab_size": self.max_vocab_size}
        numbers = {"total_words": total_words, "least": least}
        write(path, _FORMAT, {"options": options, **numbers, "words": words, "counts": counts})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is of another kind, or damaged.
        """
        with reading(path, _FORMAT, ("options", "total_words", "least", "words", "counts")) as saved:
            options = checked_options(saved["options"], "max_vocab_size")
            words, counts = strings(saved["words"], "words"), saved["counts"]
            if not isinstance(counts, list) or len(counts) != len(words):
                raise ValueError(f"expected {len(words)} counts, one per word")
            for each in (*counts, saved["total_words"], saved["least"], options["max_vocab_size"]):
                count(each, "a count")
            phrases = cls(**options)
            phrases._phrases.restore(words, counts, saved["total_words"], saved["least"])
        return phrases
