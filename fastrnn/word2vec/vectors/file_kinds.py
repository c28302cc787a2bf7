"""Recognising files of vectors by their first bytes."""

from __future__ import annotations

import re
from typing import IO, BinaryIO

from fastrnn.word2vec.vectors.word2vec_rows import LONGEST_KEY, whole_number

# The first bytes of other kinds of files, and what to do with such a file.
OTHERS = {
    b"\xba\x16\x4f\x2f": "a fastText model; read the .vec file beside it, which has the words' vectors as text",
    b"PK\x03\x04": "a zip archive; if Word2Vec.save wrote it, read it with Word2Vec.load",
    b"\x1f\x8b": "gzip data; rename the file to end in .gz",
    b"BZh91AY": "bzip2 data; rename the file to end in .bz2",
    b"\xfd7zXZ": "xz data; rename the file to end in .xz",
    b"fastrnn word vectors ": "a file of WordVectors.save; read it with WordVectors.load",
}


def refuse_others(name: str, source: BinaryIO) -> None:
    """Raise ValueError if a file begins like one of another kind."""
    start = source.peek(8)[:8]  # type: ignore[attr-defined]
    for beginning, what in OTHERS.items():
        if start.startswith(beginning):
            raise ValueError(f"{name}: not a word2vec text or binary file, but {what}")
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ValueError(
            f"{name}: not a word2vec text or binary file, but a pickle, which could run code and is never loaded; save "
            "it from gensim with save_word2vec_format"
        )


def kind(line: bytes, source: IO[bytes]) -> tuple[bool, bool]:
    """Whether a file is binary, and whether it lacks a header, from its first line and the bytes after it.

    A row of text has at least ``2 * size - 1`` bytes of numbers, all of them digits, signs and the like. As many bytes
    of binary numbers contain others, unless there are only one or two numbers.
    """
    sizes = line.split()
    if len(sizes) != 2 or any(whole_number(size) is None for size in sizes):
        return False, True
    row = source.read(LONGEST_KEY).lstrip()
    end = re.search(rb"[ \t]", row)
    numbers = row[end.end() :][: max(2 * int(sizes[1]) - 1, 0)] if end else b""
    return re.fullmatch(rb"[-+0-9.eEinfatyINFATY\s]*", numbers) is None, False
