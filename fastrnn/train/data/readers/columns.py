"""Sentences with a word and its tags on each line and a blank line between sentences: the format of CoNLL."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "CoNLL-2000's files train.txt and test.txt come from the shared task of that year, or as the package conll2000 of "
    "NLTK's data (nltk_data), conll2000.zip."
)
# Not as in str.split: a word may contain a no-break space.
_BLANKS = re.compile(r"[ \t]+")


class Chunked(NamedTuple):
    """A sentence of CoNLL-2000: its words, their parts of speech, and their chunks as B-, I- and O."""

    words: list[str]
    pos: list[str]
    chunks: list[str]


class Chunking(NamedTuple):
    train: list[Chunked]
    test: list[Chunked]


def read_conll2000(source: File) -> Chunking:
    """CoNLL-2000: a folder, or a .zip, with train.txt and test.txt, three columns each.

    Raises:
        FileNotFoundError: a file is missing; the error says where to get it.
        ValueError: a line does not have three columns; a file is empty or damaged.
    """
    parts = []
    for part in ("train", "test"):
        place, content = files.read_member(source, [f"{part}.txt"], WHERE)
        parts.append([Chunked(*sentence) for sentence in _sentences(files.decoded(content, place), place, 3, None)])
    return Chunking(*parts)


def read_columns(
    file: File, columns: int = 2, separator: str | None = None, encoding: str = "utf-8"
) -> list[tuple[list[str], ...]]:
    """Each sentence as ``columns`` lists of the same length: its words, and a list for each kind of tag.

    Args:
        separator: between columns; None is spaces and tabs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line has more or fewer columns; the file is empty, damaged or not in this encoding.
    """
    return _sentences(files.read_text(file, WHERE, encoding), os.fspath(file), columns, separator)


def _sentences(text: str, place: str, columns: int, separator: str | None) -> list[tuple[list[str], ...]]:
    sentences: list[tuple[list[str], ...]] = []
    rows: list[list[str]] = []
    for number, line in files.numbered_lines(text + "\n\n"):
        row = (_BLANKS.split(line.strip(" \t")) if separator is None else line.split(separator)) if line.strip() else []
        if row and (len(row) != columns or not all(row)):
            got = f"got {sum(map(bool, row))}: {line!r:.80}"
            raise ValueError(f"{place}, line {number}: expected {columns} columns, a word and its tags, {got}")
        if row:
            rows.append(row)
        elif rows:
            sentences.append(tuple(map(list, zip(*rows, strict=True))))
            rows = []
    return sentences
