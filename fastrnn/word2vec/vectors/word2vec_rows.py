"""Rows of word2vec's files, read in blocks: bytes in, keys and numbers out, and errors that name the row."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import IO

import numpy as np

BLOCK = 1 << 20  # bytes read at once: what a table of vectors is read with beside itself
LONGEST_KEY = 1 << 16  # where no key ends within so many bytes, the file is another kind

Rows = tuple[list[str], np.ndarray, bytes]
# A key's string, of its row (from 1) and its bytes.
Decode = Callable[[int, bytes], str]


class _Table:
    """A matrix that is filled row by row; what is not filled takes no memory where the system gives it page by page."""

    def __init__(self, rows: int, size: int) -> None:
        self.vectors, self.count = np.empty((rows, size), dtype="<f4"), 0

    def add(self, rows: np.ndarray) -> None:
        end = self.count + len(rows)
        if end > len(self.vectors):
            self.vectors.resize((end + end // 4, self.vectors.shape[1]), refcheck=False)
        self.vectors[self.count : end] = rows
        self.count = end

    def finish(self) -> np.ndarray:
        if self.count < len(self.vectors):
            self.vectors.resize((self.count, self.vectors.shape[1]), refcheck=False)
        return self.vectors


def binary_rows(name: str, source: IO[bytes], size: int, wanted: int, decode: Decode) -> Rows:
    """Keys, vectors (n, size) of at most ``wanted`` binary rows, and the first bytes of what follows them."""
    keys: list[str] = []
    table = _Table(wanted, size)
    data, more, width = b"", True, 4 * size
    while more and len(keys) < wanted:
        read = source.read(max(BLOCK, len(data)))
        data, more, place, first = data + read, bool(read), 0, len(keys)
        numbers = bytearray()
        while len(keys) < wanted:
            space = data.find(b" ", place, place + LONGEST_KEY)
            end = space + 1 + width
            if space < 0 and len(data) - place >= LONGEST_KEY:
                raise ValueError(f"{name}, row {len(keys) + 1}: no key ends within {LONGEST_KEY} bytes; is it binary?")
            if space < 0 or end > len(data):
                break
            key = data[place:space].lstrip(b"\n")
            if not key:
                raise ValueError(f"{name}, row {len(keys) + 1}: its key is empty; has each row {size} numbers?")
            keys.append(decode(len(keys) + 1, key))
            numbers += data[space + 1 : end]
            place = end
        data = data[place:]
        table.add(np.frombuffer(numbers, dtype="<f4").reshape(len(keys) - first, size))
    return keys, table.finish(), data[:16] + source.read(16)


def text_rows(name: str, source: IO[bytes], size: int | None, wanted: int | None, decode: Decode, likely: int) -> Rows:
    """Keys, vectors (n, size) of at most ``wanted`` lines, and the first bytes of what follows them.

    Without a ``size`` the first line tells it, the file has no header, and a key may have spaces in it.

    Args:
        likely: the bytes that the file has, from which follows how many rows of a size it can have.
    """
    keys: list[str] = []
    header = size is not None
    table = _Table(wanted or 0, size or 0)
    rest = b""
    while wanted is None or len(keys) < wanted:
        lines = source.readlines(BLOCK)
        if not lines:
            break
        rest = b"" if wanted is None else b"".join(lines[wanted - len(keys) :])[:16]
        lines = lines[: None if wanted is None else wanted - len(keys)]
        if size is None:
            size = len(lines[0].split()) - 1
            most = likely // max(2 * size + 2, 1) + 1
            table = _Table(most if wanted is None else min(most, wanted), size)
        first = len(keys) + 1 + header
        pairs = [_split(f"{name}, line {first + i}", line, size, header) for i, line in enumerate(lines)]
        table.add(_numbers(name, first, [numbers for _, numbers in pairs], size))
        keys += [decode(len(keys) + 1 + i, key) for i, (key, _) in enumerate(pairs)]
    return keys, table.finish(), rest if keys else source.read(16)


def _split(place: str, line: bytes, size: int, header: bool) -> tuple[bytes, bytes]:
    """The key of a line and the text of its numbers."""
    line = line.rstrip()
    if line.count(b" ") == size:  # the usual line, told without making a string of each number
        key, _, numbers = line.partition(b" ")
        return key, numbers
    fields = line.split()
    if len(fields) > size + 1 and not header and not _is_number(fields[-size - 1]):
        fields = line.rsplit(None, size)
    if len(fields) != size + 1:
        raise ValueError(f"{place}: expected a key and {size} numbers, got {len(fields)} fields: {line[:60]!r}")
    return fields[0], b" ".join(fields[1:])


def _numbers(name: str, first: int, texts: list[bytes], size: int) -> np.ndarray:
    """Numbers (n, size) of n texts, the first of which is on line ``first``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns where it cannot read on
        try:
            found = np.fromstring(b" ".join(texts).decode("ascii"), dtype=np.float32, sep=" ")
            if found.size == len(texts) * size:
                return found.reshape(len(texts), size)
        except (ValueError, DeprecationWarning):
            pass
    for line, text in enumerate(texts, first):
        for number in text.split(b" "):
            if not _is_number(number):
                raise ValueError(f"{name}, line {line}: expected {size} numbers, got {number[:40]!r} among them")
    return np.array([[float(number) for number in text.split(b" ")] for text in texts], dtype=np.float32)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
