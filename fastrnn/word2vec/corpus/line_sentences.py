"""Text files as iterables of sentences, with gensim's names. ``corpus_file=`` reads the same files in C++."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from fastrnn.word2vec.files.compression import opened

BLOCK = 1 << 20  # bytes read at once from a file without lines


class LineSentence:
    """One sentence per line, words separated by white space.

    Args:
        source: a path, where .gz, .bz2 and .xz are decompressed; or an open file with a ``seek`` method.
        max_sentence_length: a line of more words makes several sentences.
        limit: read only the first ``limit`` lines.

    Raises:
        ValueError: while iterating: a line is not UTF-8.
    """

    def __init__(
        self, source: str | os.PathLike[str] | IO[Any], max_sentence_length: int = 10000, limit: int | None = None
    ) -> None:
        if not isinstance(source, (str, os.PathLike)) and not hasattr(source, "seek"):
            raise TypeError(f"source must be a path or an open file, got {source!r}")
        if max_sentence_length < 1:
            raise ValueError(f"max_sentence_length must be 1 or more, got {max_sentence_length}")
        self.source, self.max_sentence_length, self.limit = source, max_sentence_length, limit

    def __iter__(self) -> Iterator[list[str]]:
        with _beginning(self.source) as (name, file):
            for number, line in enumerate(itertools.islice(file, self.limit), 1):
                words = _text(line, f"{name}, line {number}").split()
                for start in range(0, len(words), self.max_sentence_length):
                    yield words[start : start + self.max_sentence_length]


class PathLineSentences:
    """:class:`LineSentence` for all files of a folder, sorted by name, or for one file.

    Subfolders are not read; ``limit`` applies to each file.

    Raises:
        ValueError: the path does not exist, or the folder contains no files.
    """

    def __init__(
        self, source: str | os.PathLike[str], max_sentence_length: int = 10000, limit: int | None = None
    ) -> None:
        path = Path(source)
        if not path.exists():
            raise ValueError(f"there is no file or folder {path}")
        self.input_files = (
            sorted(str(each) for each in path.iterdir() if each.is_file()) if path.is_dir() else [str(path)]
        )
        if not self.input_files:
            raise ValueError(f"the folder {path} contains no files")
        self.source, self.max_sentence_length, self.limit = str(source), max_sentence_length, limit

    def __iter__(self) -> Iterator[list[str]]:
        for file in self.input_files:
            yield from LineSentence(file, self.max_sentence_length, self.limit)


class Text8Corpus:
    """Text without lines, such as http://mattmahoney.net/dc/text8.zip, cut every ``max_sentence_length`` words."""

    def __init__(self, fname: str | os.PathLike[str], max_sentence_length: int = 10000) -> None:
        if max_sentence_length < 1:
            raise ValueError(f"max_sentence_length must be 1 or more, got {max_sentence_length}")
        self.fname, self.max_sentence_length = fname, max_sentence_length

    def __iter__(self) -> Iterator[list[str]]:
        words: list[str] = []
        with opened(self.fname) as file:
            rest, block = b"", b" "
            while block:
                block = file.read(BLOCK)
                whole = rest + block
                end = len(whole) if not block else 1 + max(whole.rfind(space) for space in b" \n\t\r")
                rest = whole[end:]
                words += _text(whole[:end], os.fspath(self.fname)).split()
                whole_sentences = len(words) // self.max_sentence_length * self.max_sentence_length
                for start in range(0, whole_sentences, self.max_sentence_length):
                    yield words[start : start + self.max_sentence_length]
                words = words[whole_sentences:]
        if words:
            yield words


@contextmanager
def _beginning(source: Any) -> Iterator[tuple[str, IO[Any]]]:
    """A source's name, and the source as a file at its beginning. A file that was already open stays open."""
    if not isinstance(source, (str, os.PathLike)):
        source.seek(0)
        context: Any = nullcontext(source)
    else:
        context = opened(source)
    with context as file:
        yield str(getattr(source, "name", source)), file


def _text(line: str | bytes, place: str) -> str:
    try:
        return line if isinstance(line, str) else line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: not UTF-8: {error}; corpus_file= replaces such bytes") from error
