"""Joining phrases in sentences and files: what Phrases and FrozenPhrases share."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus
from fastrnn.word2vec.corpus.text_blocks import blocks
from fastrnn.word2vec.files.compression import replacing

_ARTICLES = ["a", "an", "the"]
_PREPOSITIONS = ["for", "of", "with", "without", "at", "from", "to", "in", "on", "by"]
ENGLISH_CONNECTOR_WORDS = frozenset([*_ARTICLES, *_PREPOSITIONS, "and", "or"])
"""A value for ``connector_words``, equal to gensim's constant of the same name."""


class Joining(ABC):
    """Joins phrases; subclasses say which word pairs are phrases."""

    workers: int

    @abstractmethod
    def _joiner(self) -> Any:
        """An object that knows the phrases: a ``_C.PhraseJoiner``, or one with the same methods."""

    @abstractmethod
    def _score(self, first: str, last: str, joined: str) -> float:
        """The score of a phrase, given its first and last word and its text."""

    def __getitem__(self, sentences: Iterable[Any]) -> list[str] | Applied:
        """A sentence with its phrases joined; for an iterable of sentences, an iterable of such sentences.

        An empty list counts as a sentence. Words outside of phrases stay the same objects.
        """
        if not isinstance(sentences, (list, tuple)):
            check_corpus(sentences, None)
        if isinstance(sentences, Iterator):
            first = list(itertools.islice(sentences, 1))
            is_sentence = not first or isinstance(first[0], str)
            sentences = itertools.chain(first, sentences)
        else:
            is_sentence = isinstance(next(iter(sentences), ""), str)
        return self._joiner().join_sentence(sentences) if is_sentence else Applied(self, sentences)

    def apply_file(self, source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        """Write a corpus file with its phrases joined: one sentence per line, a space between words.

        An existing target is replaced only once the new file is complete. A target named .gz, .xz or .bz2 is
        compressed.

        Raises:
            OSError, ValueError: as :func:`fastrnn.word2vec.corpus.text_blocks.blocks`.
        """
        joiner = self._joiner()
        with replacing(target) as file:
            for text, cuts in blocks(source):
                file.writelines(joiner.join_text(text, cuts, self.workers))

    def find_phrases(self, sentences: Sentences) -> dict[str, float]:
        """The phrases in these sentences with their scores, in order of first appearance.

        Raises:
            TypeError: ``sentences`` is not an iterable of lists of words.
        """
        check_corpus(sentences, None)
        found: dict[str, float] = {}
        for sentence in sentences:
            for first, last, joined in self._joiner().phrases_of(sentence):
                found[joined] = self._score(first, last, joined)
        return found


class Applied:
    """Sentences with their phrases joined, computed each time they are iterated over."""

    def __init__(self, phrases: Joining, sentences: Iterable[Sequence[str]]) -> None:
        self.phrases, self.sentences = phrases, sentences

    def __len__(self) -> int:
        return len(self.sentences)  # type: ignore[arg-type]  # raises TypeError if they have no length

    def __iter__(self) -> Iterator[list[str]]:
        if type(self.sentences) is not list:  # one at a time: a stream may pause between sentences
            for sentence in self.sentences:
                yield self.phrases._joiner().join_sentence(sentence)
            return
        sentences = iter(self.sentences)
        while joined := self.phrases._joiner().join_sentences(sentences, self.phrases.workers):
            yield from joined
