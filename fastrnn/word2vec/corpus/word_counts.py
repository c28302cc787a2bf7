"""Counting the words of a corpus."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers
from fastrnn.word2vec.corpus.text_blocks import blocks
from fastrnn.word2vec.corpus.trim_rules import TrimRule
from fastrnn.word2vec.settings import WHOLE, whole


class Counted(NamedTuple):
    """The result of one pass over a corpus; words are in order of first appearance."""

    words: list[str]
    counts: np.ndarray  # (len(words),) int64
    total_words: int
    sentences: int


def count_words(
    sentences: Sentences | None = None,
    corpus_file: str | os.PathLike[str] | None = None,
    min_count: int = 1,
    max_vocab_size: int | None = None,
    workers: int | None = None,
    trim_rule: TrimRule | None = None,
) -> Counted:
    """Count the words of a corpus; arguments as in :meth:`fastrnn.word2vec.Vocabulary.build`.

    With a ``trim_rule``, which is applied later, rare words are returned too.

    Raises:
        ValueError: the corpus is empty, ``max_vocab_size`` or ``workers`` is less than 1, or ``max_vocab_size`` and
            ``trim_rule`` are both given.
        TypeError, OSError: as :func:`fastrnn.word2vec.corpus.encode`.
    """
    check_corpus(sentences, corpus_file)
    min_count = whole("min_count", min_count, *WHOLE["min_count"])
    if max_vocab_size is not None:
        max_vocab_size = whole("max_vocab_size", max_vocab_size, *WHOLE["max_vocab_size"])
    threads = checked_workers(workers)
    if trim_rule is not None:
        if max_vocab_size is not None:
            raise ValueError("max_vocab_size discards words before trim_rule sees them; give only one of the two")
        min_count = 1
    counter = None
    if corpus_file is not None:
        counter = _count_file(corpus_file, max_vocab_size or 0, threads)
        words, counts = counter.finish(min_count)
        if counter.is_too_large:  # which words are discarded depends on the order: read again in order
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
