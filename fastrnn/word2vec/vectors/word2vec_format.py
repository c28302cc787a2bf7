"""word2vec's file formats, text and binary, as word2vec.c and gensim write and read them; GloVe's and fastText's text.

Both begin with a line "rows size". A row of text is the key and its numbers, between spaces; a row of the binary format
is the key, a space and the numbers as little-endian float32, after which word2vec.c writes a newline and gensim
does not. GloVe's text has no first line.
"""

from __future__ import annotations

import operator
import os
import re
import shutil
import stat
import warnings
from typing import IO, Any, BinaryIO

import numpy as np

from fastrnn.word2vec.files.compression import is_compressed, most_unpacked, opened, replacing
from fastrnn.word2vec.vectors.word2vec_rows import LONGEST_KEY, binary_rows, text_rows

# How files of other kinds begin, and what to do with them.
OTHERS = {
    b"\xba\x16\x4f\x2f": "fastText model; its words' vectors as text are in the file .vec beside it",
    b"PK\x03\x04": "zip archive; a model that Word2Vec.save wrote is read by Word2Vec.load",
    b"\x1f\x8b": "gzip; give it a name that ends in .gz",
    b"BZh91AY": "bzip2; give it a name that ends in .bz2",
    b"\xfd7zXZ": "xz; give it a name that ends in .xz",
    b"fastrnn word vectors ": "what WordVectors.save wrote, which WordVectors.load reads",
}


def save(
    file: str | os.PathLike[str],
    keys: list[str],
    vectors: np.ndarray,
    binary: bool = False,
    write_header: bool = True,
    encoding: str = "utf8",
    total_vec: int | None = None,
    append: bool = False,
) -> None:
    """Write the very bytes that gensim writes: numbers of text are the shortest that read back as the same float32.

    Args:
        total_vec: how many rows the header announces, if not as many as there are keys.
        append: write behind what the file holds already.

    Raises:
        ValueError: A key has white space in it or is empty, so that no reader could tell where it ends.
    """
    bad = next((key for key in keys if not key or re.search(r"[ \t\r\n\v\f]", key)), None)
    if bad is not None:
        raise ValueError(
            f"{os.fspath(file)}: word2vec's formats cannot hold the key {bad!r}, which is empty or has a space in it; "
            "save() can"
        )
    with replacing(file) as out:
        if append and os.path.isfile(file):
            with opened(file) as before:
                shutil.copyfileobj(before, out)
        if write_header:
            out.write(f"{len(keys) if total_vec is None else total_vec} {vectors.shape[1]}\n".encode())
        for key, row in zip(keys, np.asarray(vectors, dtype="<f4"), strict=True):
            if binary:
                out.write(key.encode(encoding) + b" " + row.tobytes())
            else:
                out.write(f"{key} {' '.join(map(str, row))}\n".encode(encoding))


def load(
    file: str | os.PathLike[str],
    binary: bool = False,
    limit: int | None = None,
    datatype: Any = np.float32,
    encoding: str = "utf8",
    unicode_errors: str = "strict",
    no_header: bool = False,
) -> tuple[list[str], np.ndarray]:
    """Read keys (V) and vectors (V, D). A key that comes again is left out, with a warning.

    Args:
        limit: read only so many first rows.
        datatype: of the vectors returned.
        encoding, unicode_errors: how keys become strings, as in ``bytes.decode``.
        no_header: text without the first line, as GloVe has it: a row's numbers are as many as the first row's.

    Raises:
        ValueError: What the file has is not what its first line says, a row has too few or too many numbers or one
            that is none, or a key is not in that encoding. The message names the file and the line or row.
    """
    name, limit = os.fspath(file), checked_limit(limit)
    if binary and no_header:
        raise ValueError(f"{name}: a binary file without its first line cannot be read; got no_header=True")

    def decode(row: int, key: bytes) -> str:
        try:
            return key.decode(encoding, unicode_errors)
        except UnicodeError as error:
            raise ValueError(f"{name}, row {row}: key {key!r} is not {encoding}: {error}") from error

    with opened(file) as source:
        refuse_others(name, source)
        rows, size = (None, None) if no_header else _header(name, source.readline(1 << 12))
        if rows is not None and size is not None:
            _check_fits(name, source, rows, size, binary)
        wanted = rows if limit is None else limit if rows is None else min(rows, limit)
        if binary:
            keys, vectors, rest = binary_rows(name, source, size or 0, wanted or 0, decode)
        else:
            length = 0 if is_compressed(file) else os.fstat(source.fileno()).st_size
            keys, vectors, rest = text_rows(name, source, size, wanted, decode, length)
    if wanted is not None and rows is not None:
        if len(keys) < wanted:
            raise ValueError(f"{name}: truncated: its first line says {rows} rows, it has {len(keys)}")
        if wanted == rows and rest.strip():
            raise ValueError(f"{name}: its first line says {rows} rows of {size} numbers; more follows them")
    return _unique(name, keys, vectors.astype(datatype, copy=False))


def checked_limit(limit: int | None) -> int | None:
    """How many rows to read. Raises ValueError, TypeError where it is no whole number, 0 or more."""
    if limit is not None and operator.index(limit) < 0:
        raise ValueError(f"limit must be 0 or more, or None for all rows; got {limit}")
    return limit


def refuse_others(name: str, source: BinaryIO) -> None:
    """Raise ValueError for a file that begins as another kind of file does."""
    start = source.peek(8)[:8]  # type: ignore[attr-defined]
    for beginning, what in OTHERS.items():
        if start.startswith(beginning):
            raise ValueError(f"{name}: not a text or word2vec binary file: {what}")
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ValueError(
            f"{name}: not a text or word2vec binary file: a pickle, which may run code and is never loaded; in gensim "
            "save_word2vec_format writes what can be"
        )


def kind(line: bytes, source: IO[bytes]) -> tuple[bool, bool]:
    """Whether a file is binary, and whether it has no header; told from its first line and the file after it.

    The numbers of a row of text take ``2 * size - 1`` bytes or more, all of them signs, digits and the like. Among as
    many bytes of raw numbers there are others, unless there are one or two numbers only.
    """
    sizes = line.split()
    if len(sizes) != 2 or any(_whole(size) is None for size in sizes):
        return False, True
    row = source.read(LONGEST_KEY).lstrip()
    end = re.search(rb"[ \t]", row)
    numbers = row[end.end() :][: max(2 * int(sizes[1]) - 1, 0)] if end else b""
    return re.fullmatch(rb"[-+0-9.eEinfatyINFATY\s]*", numbers) is None, False


def save_counts(file: str | os.PathLike[str], keys: list[str], counts: np.ndarray) -> None:
    """Write a line of each key (V) and its count (V,), as word2vec.c does."""
    with replacing(file) as out:
        out.writelines(f"{key} {count}\n".encode() for key, count in zip(keys, counts.tolist(), strict=True))


def load_counts(file: str | os.PathLike[str], keys: list[str], encoding: str, unicode_errors: str) -> np.ndarray:
    """The counts (V,) of keys from a file of lines of a key and its count.

    Raises:
        ValueError: A line is none of these, or a key has none.
    """
    name, found = os.fspath(file), {}
    with opened(file) as source:
        for number, line in enumerate(source, 1):
            try:
                fields = line.decode(encoding, unicode_errors).split()
            except UnicodeError as error:
                raise ValueError(f"{name}, line {number}: not {encoding}: {error}") from error
            if len(fields) != 2 or _whole(fields[1].encode()) is None:
                raise ValueError(
                    f"{name}, line {number}: expected a key and its count, got {line[:60]!r} (counts: below 2**63)"
                )
            found[fields[0]] = int(fields[1])
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f"{name}: {len(missing)} of {len(keys)} keys have no count there, the first {missing[0]!r}")
    return np.array([found[key] for key in keys], dtype=np.int64)


def _header(name: str, line: bytes) -> tuple[int, int]:
    fields = line.split()
    rows, size = (_whole(field) for field in fields) if len(fields) == 2 else (None, None)
    if rows is None or size is None:
        raise ValueError(
            f"{name}, line 1: expected 'rows size', got {line[:60]!r} (both less than 2**63; text without it: "
            "no_header=True)"
        )
    return rows, size


def _whole(digits: bytes) -> int | None:
    """The whole number, if it is one less than 2**63."""
    number = int(digits) if digits.isdigit() and len(digits) < 20 else -1
    return number if 0 <= number < 2**63 else None


def _check_fits(name: str, source: IO[bytes], rows: int, size: int, binary: bool) -> None:
    """Whether so many numbers can be in the file, before memory is allocated for them."""
    least = rows * (2 + 4 * size if binary else 2 + 2 * size) - (not binary)
    if is_compressed(name):
        left = most_unpacked(name)
    elif stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        left = os.fstat(source.fileno()).st_size - source.tell()
    else:
        return
    if rows and left < least:
        raise ValueError(
            f"{name}: truncated, or its first line is wrong: {rows} rows of {size} numbers take at least {least} "
            f"bytes; {'at most ' if is_compressed(name) else ''}{left} follow"
        )


def _unique(name: str, keys: list[str], vectors: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Keys and vectors without those whose key came before."""
    if len({*keys}) == len(keys):
        return keys, vectors
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    rows = sorted(first.values())
    again = next(key for row, key in enumerate(keys) if first[key] != row)
    left_out = len(keys) - len(rows)
    warnings.warn(f"{name}: left out {left_out} rows whose key came before, the first {again!r}", stacklevel=4)
    return [keys[row] for row in rows], vectors[rows]
