"""The vocabulary: the words of a corpus that occur often enough, most frequent first."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus import Encoded, Sentences, check_corpus, default_workers, encode
from fastrnn.word2vec.reading import blocks


class Counted(NamedTuple):
    """Words in the order of their first appearance, and what else a pass over a corpus tells."""

    words: list[str]
    counts: np.ndarray  # (len(words),) int64
    total_words: int
    sentences: int


class Vocabulary:
    """The words of a corpus and how often each occurs.

    Attributes:
        index_to_key: the words, most frequent first, those of equal count in the order of their first appearance.
            Words that :meth:`update` adds come after all others.
        key_to_index: a word's place in ``index_to_key``.
        counts: (V,) int64.
        total_words: words of the corpus, rare ones included.
        sentences: sentences of the corpus.
    """

    def __init__(self, keys: list[str], counts: np.ndarray, total_words: int | None = None, sentences: int = 0) -> None:
        """Make a vocabulary of known counts; ``total_words`` is their sum by default.

        Raises:
            ValueError: a word is there twice, or the counts are not as many as the words.
        """
        self.index_to_key = list(keys)
        self.key_to_index = {key: i for i, key in enumerate(keys)}
        self.counts = np.asarray(counts, np.int64)
        self.total_words = int(self.counts.sum()) if total_words is None else total_words
        self.sentences = sentences
        if self.counts.shape != (len(keys),):
            raise ValueError(f"{len(keys)} words need as many counts, got an array of shape {self.counts.shape}")
        if len(self.key_to_index) < len(keys):
            twice = next(key for i, key in enumerate(keys) if self.key_to_index[key] != i)
            raise ValueError(f"the word {twice!r} is in the vocabulary twice")

    @classmethod
    def build(
        cls,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        workers: int | None = None,
    ) -> Vocabulary:
        """Count the words of a corpus and keep those that occur ``min_count`` times or more.

        Args:
            max_vocab_size: bounds the memory of counting. Each sentence that leaves more different words than this
                makes some be forgotten, as in gensim: the first time none, the second those counted once, then those
                counted twice or less, and so on. None: no bound.
            max_final_vocab: raises ``min_count`` until no more words than this are kept.
            workers: threads that read a file; the result is the same for any number.

        Raises:
            ValueError: the corpus is empty, or no word occurs often enough.
            TypeError, OSError: as :func:`fastrnn.word2vec.corpus.encode`.
        """
        found = count_words(sentences, corpus_file, min_count, max_vocab_size, workers)
        found = _at_most(found, max_final_vocab)
        if not found.words:
            raise ValueError(f"no word occurs min_count={min_count} times, or max_final_vocab={max_final_vocab} is low")
        order = np.argsort(-found.counts, kind="stable")
        return cls([found.words[i] for i in order], found.counts[order], found.total_words, found.sentences)

    def update(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        workers: int | None = None,
    ) -> int:
        """Add the counts of another corpus, and after the words that are here its new ones, the most frequent first.

        In the new corpus, too, only words that occur ``min_count`` times or more count. Arguments and errors as in
        :meth:`build`, but that a corpus without new words is none.

        Returns:
            how many words are new.
        """
        found = count_words(sentences, corpus_file, min_count, max_vocab_size, workers)
        order = np.argsort(-found.counts, kind="stable")
        new = [i for i in order if found.words[i] not in self.key_to_index]
        for word, count in zip(found.words, found.counts, strict=True):
            if word in self.key_to_index:
                self.counts[self.key_to_index[word]] += count
        for i in new:
            self.key_to_index[found.words[i]] = len(self.index_to_key)
            self.index_to_key.append(found.words[i])
        self.counts = np.concatenate([self.counts, found.counts[new]])
        self.total_words += found.total_words
        self.sentences += found.sentences
        return len(new)

    def encode(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        workers: int | None = None,
    ) -> Encoded:
        """Read a corpus as places in this vocabulary: :func:`fastrnn.word2vec.corpus.encode`."""
        return encode(self.index_to_key, sentences, corpus_file, directory, workers)

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return key in self.key_to_index


def count_words(
    sentences: Sentences | None = None,
    corpus_file: str | os.PathLike[str] | None = None,
    min_count: int = 1,
    max_vocab_size: int | None = None,
    workers: int | None = None,
) -> Counted:
    """Count the words of a corpus; arguments as in :meth:`Vocabulary.build`.

    Raises:
        ValueError: the corpus is empty, or ``max_vocab_size`` or ``workers`` is less than 1.
        TypeError, OSError: as :func:`fastrnn.word2vec.corpus.encode`.
    """
    check_corpus(sentences, corpus_file)
    for name, value in (("max_vocab_size", max_vocab_size), ("workers", workers)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be 1 or more, or None, got {value}")
    counter = None
    if corpus_file is not None:
        counter = _count_file(corpus_file, max_vocab_size or 0, workers or default_workers())
        words, counts = counter.finish(min_count)
        if counter.is_too_large:  # what is forgotten then depends on the order: read it again, in order
            counter = _count_file(corpus_file, max_vocab_size or 0, 1)
            words, counts = counter.finish(min_count)
    else:
        counter = _C.WordCounter(1, max_vocab_size or 0)
        counter.count_sentences(sentences if sentences is not None else ())
        words, counts = counter.finish(min_count)
    if counter.total_words == 0:
        raise ValueError(f"the corpus has no words: {'sentences' if corpus_file is None else corpus_file}")
    return Counted(words, counts, counter.total_words, counter.sentences)


def _count_file(path: str | os.PathLike[str], max_vocab_size: int, workers: int) -> _C.WordCounter:
    counter = _C.WordCounter(workers, max_vocab_size)
    for text, cuts in blocks(path):
        counter.count(text, cuts)
        if counter.is_too_large:
            break
    return counter


def _at_most(found: Counted, most: int | None) -> Counted:
    """The most frequent words, but none of those of equal count if not all of them fit."""
    if most is None or len(found.words) <= most:
        return found
    least = np.sort(found.counts)[::-1][most] + 1
    kept = np.flatnonzero(found.counts >= least)
    return found._replace(words=[found.words[i] for i in kept], counts=found.counts[kept])
