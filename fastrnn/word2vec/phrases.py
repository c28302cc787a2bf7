"""Phrases: neighbours that are one word, found by their counts (Mikolov et al., 2013, arXiv:1310.4546, section 4)."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fastrnn import _C
from fastrnn.word2vec.corpus import Sentences, blocks, check_corpus, default_workers

_FORMAT = "fastrnn phrases 1"


class Phrases:
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
        self.workers = workers or default_workers()
        self._phrases = _C.word2vec.Phrases(
            min_count, threshold, max_vocab_size, delimiter, scoring == "npmi", sorted(self.connector_words)
        )
        if sentences is not None or corpus_file is not None:
            self.add_vocab(sentences, corpus_file)

    def add_vocab(self, sentences: Sentences | None = None, corpus_file: str | os.PathLike[str] | None = None) -> None:
        """Add the counts of another corpus. If it cannot be read to its end, nothing is added."""
        check_corpus(sentences, corpus_file)
        if sentences is not None:
            counter = _C.word2vec.Phrases.Counter(self._phrases, 1)
            counter.count_sentences(sentences)
        elif corpus_file is not None:
            counter = self._count(corpus_file, self.workers)
            if counter.is_too_large():  # what is forgotten then depends on the order: read it again, in order
                counter = self._count(corpus_file, 1)
        self._phrases.add(counter)

    def _count(self, path: str | os.PathLike[str], workers: int) -> _C.word2vec.Phrases.Counter:
        counter = _C.word2vec.Phrases.Counter(self._phrases, workers)
        for text, cuts in blocks(path):
            counter.count(text, cuts)
        return counter

    def __getitem__(self, sentences: Sequence[str] | Sentences) -> list[str] | Applied:
        """A sentence with its phrases joined; or, for an iterable of sentences, an iterable of such sentences."""
        if isinstance(sentences, (list, tuple)) and (not sentences or isinstance(sentences[0], str)):
            return self._phrases.apply_sentence(sentences)
        check_corpus(sentences, None)
        return Applied(self, sentences)

    def apply_file(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        """Write a corpus file with its phrases joined: a sentence per line, a space between words.

        The target is written beside its name and then renamed: it is there whole or not at all.

        Raises:
            OSError, ValueError: as :func:`fastrnn.word2vec.corpus.blocks`.
        """
        with _written_whole(Path(target)) as path, path.open("wb") as file:
            for text, cuts in blocks(source):
                file.writelines(self._phrases.apply_text(text, cuts, self.workers))

    def export_phrases(self) -> dict[str, float]:
        """All phrases that were found, in the order of their first appearance, and their scores."""
        return dict(self._phrases.phrases())

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
        options = {
            "min_count": self.min_count,
            "threshold": self.threshold,
            "max_vocab_size": self.max_vocab_size,
            "delimiter": self.delimiter,
            "scoring": self.scoring,
            "connector_words": sorted(self.connector_words),
        }
        everything = {
            "format": _FORMAT,
            "options": options,
            "total_words": self.corpus_word_count,
            "least": self._phrases.least,
        }
        with _written_whole(Path(path)) as beside, beside.open("w", encoding="utf-8") as file:
            json.dump(everything | {"words": words, "counts": counts}, file, ensure_ascii=False)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Phrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is another one, or damaged.
        """
        try:
            with open(path, encoding="utf-8") as file:
                saved = json.load(file)
            if saved["format"] != _FORMAT:
                raise ValueError(f"its format is {saved['format']!r}")
            phrases = cls(**saved["options"])
            phrases._phrases.restore(saved["words"], saved["counts"], saved["total_words"], saved["least"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a whole file of {_FORMAT!r}: {error!r}") from error
        return phrases


class Applied:
    """Sentences with their phrases joined, made anew each time they are iterated over."""

    def __init__(self, phrases: Phrases, sentences: Sentences) -> None:
        self.phrases, self.sentences = phrases, sentences

    def __iter__(self) -> Iterator[list[str]]:
        return map(self.phrases._phrases.apply_sentence, self.sentences)


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
    """A path beside ``path``, renamed to it at the end, or removed after an exception."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
