"""Joining the phrases of sentences and files: what Phrases and FrozenPhrases have in common."""

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
"""For ``connector_words``; those of gensim's constant of that name."""


class Joining(ABC):
    """Joins phrases, whatever tells it which they are."""

    workers: int

    @abstractmethod
    def _joiner(self) -> Any:
        """What knows the phrases: a ``_C.PhraseJoiner``, or something with its methods."""

    @abstractmethod
    def _score(self, first: str, last: str, joined: str) -> float:
        """The score of a phrase, by its first and last word and its text."""

    def __getitem__(self, sentences: Iterable[Any]) -> list[str] | Applied:
        """A sentence with its phrases joined; or, for an iterable of sentences, an iterable of such sentences.

        What is empty is a sentence. Words outside of phrases stay the same objects.
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
        """Write a corpus file with its phrases joined: a sentence per line, a space between words.

        The target is written beside its name and then renamed: it is there whole or not at all. One that ends in .gz,
        .xz or .bz2 is compressed.

        Raises:
            OSError, ValueError: as :func:`fastrnn.word2vec.corpus.text_blocks.blocks`.
        """
        joiner = self._joiner()
        with replacing(target) as file:
            for text, cuts in blocks(source):
                file.writelines(joiner.join_text(text, cuts, self.workers))

    def find_phrases(self, sentences: Sentences) -> dict[str, float]:
        """The phrases that are in these sentences, in order of first appearance, and their scores.

        Raises:
            TypeError: ``sentences`` is no iterable of lists of words.
        """
        check_corpus(sentences, None)
        found: dict[str, float] = {}
        for sentence in sentences:
            for first, last, joined in self._joiner().phrases_of(sentence):
                found[joined] = self._score(first, last, joined)
        return found


class Applied:
    """Sentences with their phrases joined, made anew each time they are iterated over."""

    def __init__(self, phrases: Joining, sentences: Iterable[Sequence[str]]) -> None:
        self.phrases, self.sentences = phrases, sentences

    def __len__(self) -> int:
        return len(self.sentences)  # type: ignore[arg-type]  # TypeError where there is no length

    def __iter__(self) -> Iterator[list[str]]:
        if type(self.sentences) is not list:  # each sentence as it comes: the next may be long in coming
            for sentence in self.sentences:
                yield self.phrases._joiner().join_sentence(sentence)
            return
        sentences = iter(self.sentences)
        while joined := self.phrases._joiner().join_sentences(sentences, self.phrases.workers):
            yield from joined
