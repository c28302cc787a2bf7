"""Parsing the rows of word2vec's files, block by block, with errors that name the row or line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import IO

import numpy as np

BLOCK = 1 << 20  # bytes read at once: the memory that reading takes in addition to the vectors
LONGEST_KEY = 1 << 16  # if no key ends within this many bytes, it is another kind of file

Rows = tuple[list[str], np.ndarray, bytes]
# Decodes a key, given its row number (from 1) and its bytes.
Decode = Callable[[int, bytes], str]


class _Table:
    """A matrix that is filled row by row. Unfilled pages take no memory on systems that allocate lazily."""

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
    """Keys and vectors (n, size) of at most ``wanted`` binary rows, and the first bytes after them."""
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
                raise ValueError(f"{name}, row {len(keys) + 1}: the key is empty; does each row have {size} numbers?")
            keys.append(decode(len(keys) + 1, key))
            numbers += data[space + 1 : end]
            place = end
        data = data[place:]
        table.add(np.frombuffer(numbers, dtype="<f4").reshape(len(keys) - first, size))
    return keys, table.finish(), data[:16] + source.read(16)


def text_rows(name: str, source: IO[bytes], size: int | None, wanted: int | None, decode: Decode, likely: int) -> Rows:
    """Keys and vectors (n, size) of at most ``wanted`` lines of text, and the first bytes after them.

    If ``size`` is None, the file has no header, its first line tells the size, and keys may contain spaces.

    Args:
        likely: the size of the file in bytes, which limits how many rows it can have.
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
    if line.count(b" ") == size:  # the usual case, without a string for each number
        key, _, numbers = line.partition(b" ")
        return key, numbers
    fields = line.split()
    if len(fields) > size + 1 and not header and not _is_number(fields[-size - 1]):
        fields = line.rsplit(None, size)
    if len(fields) != size + 1:
        raise ValueError(f"{place}: expected a key and {size} numbers, got {len(fields)} fields: {line[:60]!r}")
    return fields[0], b" ".join(fields[1:])


def _numbers(name: str, first: int, texts: list[bytes], size: int) -> np.ndarray:
    """The numbers (n, size) in n texts; the first text is on line ``first``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns at text that is not a number
        try:
            found = np.fromstring(b" ".join(texts).decode("ascii"), dtype=np.float32, sep=" ")
            if found.size == len(texts) * size:
                return found.reshape(len(texts), size)
        except (ValueError, DeprecationWarning):
            pass
    for line, text in enumerate(texts, first):
        for number in text.split(b" "):
            if not _is_number(number):
                raise ValueError(f"{name}, line {line}: expected {size} numbers, but {number[:40]!r} is not a number")
    return np.array([[float(number) for number in text.split(b" ")] for text in texts], dtype=np.float32)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def whole_number(digits: bytes) -> int | None:
    """An integer from 0 to 2**63 - 1, or None if the bytes are not one."""
    number = int(digits) if digits.isdigit() and len(digits) < 20 else -1
    return number if 0 <= number < 2**63 else None
