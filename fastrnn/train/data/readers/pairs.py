"""Pairs of sentences, one pair a line with a tab between them."""

from __future__ import annotations

import os

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "Sentence pairs in two languages, such as fra-eng.zip with its file fra.txt, come from the Tatoeba project, as "
    "tab-delimited pairs from ManyThings.org."
)


def read_pairs(file: File, encoding: str = "utf-8") -> list[tuple[str, str]]:
    """The first two columns of each line, without the space around them. Further columns and blank lines are ignored.

    Raises:
        FileNotFoundError: there is no such file. It says where one gets it.
        ValueError: a line has no tab or nothing on one side of it; the file is empty, damaged or not in this encoding.
    """
    pairs = []
    for number, line in files.numbered_lines(files.read_text(file, WHERE, encoding)):
        if not line.strip():
            continue
        columns = [column.strip() for column in line.split("\t")[:2]]
        if len(columns) < 2 or not all(columns):
            raise ValueError(
                f"{os.fspath(file)}, line {number}: expected two sentences with a tab between them, got {line!r:.80}"
            )
        pairs.append((columns[0], columns[1]))
    return pairs
