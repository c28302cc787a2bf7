"""word2vec's text and binary formats, as word2vec.c and gensim write them; also GloVe's and fastText's text.

Both formats begin with a header line "rows size". A row of text is the key and its numbers, separated by spaces. A
binary row is the key, a space and the numbers as little-endian float32; word2vec.c then writes a newline, gensim does
not. GloVe's text has no header.
"""

from __future__ import annotations

import operator
import os
import re
import shutil
import stat
import warnings
from typing import IO, Any

import numpy as np

from fastrnn.word2vec.files.compression import is_compressed, most_unpacked, opened, replacing
from fastrnn.word2vec.vectors.file_kinds import refuse_others
from fastrnn.word2vec.vectors.word2vec_rows import binary_rows, text_rows, whole_number


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
    """Write the same bytes as gensim. Text has the fewest digits that read back as the same float32.

    Args:
        total_vec: the number of rows in the header, if it is not the number of keys.
        append: write after the present content of the file.

    Raises:
        ValueError: A key is empty or contains white space, so a reader could not tell where it ends.
    """
    bad = next((key for key in keys if not key or re.search(r"[ \t\r\n\v\f]", key)), None)
    if bad is not None:
        raise ValueError(
            f"{os.fspath(file)}: word2vec's formats cannot store the key {bad!r}, which is empty or contains white "
            "space; use save() instead"
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
    """Read keys (V) and vectors (V, D). Rows with a repeated key are dropped, with a warning.

    Args:
        limit: read only the first ``limit`` rows.
        datatype: of the vectors returned.
        encoding, unicode_errors: how keys are decoded, as in ``bytes.decode``.
        no_header: the text has no header, like GloVe's; the first row then tells the size of a vector.

    Raises:
        ValueError: The content does not agree with the header, a row has the wrong number of numbers or one that is
            not a number, or a key is not in that encoding. The message names the file and the line or row.
    """
    name, limit = os.fspath(file), checked_limit(limit)
    if binary and no_header:
        raise ValueError(f"{name}: a binary file without a header cannot be read; no_header=True is for text")

    def decode(row: int, key: bytes) -> str:
        try:
            return key.decode(encoding, unicode_errors)
        except UnicodeError as error:
            raise ValueError(f"{name}, row {row}: key {key!r} is not valid {encoding}: {error}") from error

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
            raise ValueError(f"{name}: truncated: its header says {rows} rows, but it has {len(keys)}")
        if wanted == rows and rest.strip():
            raise ValueError(f"{name}: its header says {rows} rows of {size} numbers, but more data follows them")
    return _unique(name, keys, vectors.astype(datatype, copy=False))


def checked_limit(limit: int | None) -> int | None:
    """Check the number of rows to read. Raises ValueError or TypeError unless it is None or an integer >= 0."""
    if limit is not None and operator.index(limit) < 0:
        raise ValueError(f"limit must be 0 or more, or None for all rows; got {limit}")
    return limit


def _header(name: str, line: bytes) -> tuple[int, int]:
    fields = line.split()
    rows, size = (whole_number(field) for field in fields) if len(fields) == 2 else (None, None)
    if rows is None or size is None:
        raise ValueError(
            f"{name}, line 1: expected a header 'rows size' of integers below 2**63, got {line[:60]!r}; for text "
            "without a header use no_header=True"
        )
    return rows, size


def _check_fits(name: str, source: IO[bytes], rows: int, size: int, binary: bool) -> None:
    """Check that the file is large enough for these numbers, before memory is allocated for them."""
    least = rows * (2 + 4 * size if binary else 2 + 2 * size) - (not binary)
    if is_compressed(name):
        left = most_unpacked(name)
    elif stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        left = os.fstat(source.fileno()).st_size - source.tell()
    else:
        return
    if rows and left < least:
        raise ValueError(
            f"{name}: truncated, or its header is wrong: {rows} rows of {size} numbers take at least {least} bytes, "
            f"but {'at most ' if is_compressed(name) else ''}{left} follow"
        )


def _unique(name: str, keys: list[str], vectors: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Keys and vectors without rows that repeat an earlier key."""
    if len({*keys}) == len(keys):
        return keys, vectors
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    rows = sorted(first.values())
    again = next(key for row, key in enumerate(keys) if first[key] != row)
    ignored = len(keys) - len(rows)
    warnings.warn(f"{name}: ignored {ignored} rows that repeat an earlier key, the first {again!r}", stacklevel=4)
    return [keys[row] for row in rows], vectors[rows]
