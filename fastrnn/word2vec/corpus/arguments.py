"""Checks of the arguments that say what to read: sentences or a file, and the number of threads."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence

from fastrnn.word2vec import _C

Sentences = Iterable[Sequence[str]]


def check_corpus(sentences: Sentences | None, corpus_file: str | os.PathLike[str] | None, again: bool = False) -> None:
    """Check that exactly one corpus is given and that it can be read.

    Args:
        again: whether the corpus will be read more than once.

    Raises:
        TypeError: both or neither are given; ``sentences`` is a str or not iterable; or ``again``, and ``sentences`` is
            an iterator, which can be read only once.
    """
    if (sentences is None) == (corpus_file is None):
        raise TypeError(f"give either sentences or corpus_file, got {'neither' if sentences is None else 'both'}")
    if sentences is None:
        return
    if isinstance(sentences, (str, bytes)) or not isinstance(sentences, Iterable):
        raise TypeError(f"sentences must be an iterable of lists of words, got {type(sentences).__name__}")
    if again and isinstance(sentences, Iterator):
        raise TypeError(
            f"sentences is read more than once, so it must not be an iterator or generator, got "
            f"{type(sentences).__name__}; give a list, or an object whose __iter__ starts from the beginning"
        )


def default_workers() -> int:
    """The number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checked_workers(workers: int | None) -> int:
    """The number of threads: ``workers``, or by default the number of cores.

    Raises:
        ValueError: ``workers`` is not from 1 to 1024.
        TypeError: ``workers`` is not an integer.
    """
    if workers is None:
        return min(default_workers(), _C.MOST_THREADS)
    if not 1 <= operator.index(workers) <= _C.MOST_THREADS:
        raise ValueError(f"workers must be from 1 to {_C.MOST_THREADS}, or None for one per core; got {workers}")
    return operator.index(workers)
