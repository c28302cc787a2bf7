"""Corpora: an iterable of lists of words, or a text file, plain or compressed, of any size.

A file is split at white space, as ``bytes.split()`` does; its lines are sentences, cut after every 10,000 words. Bytes
that are not UTF-8 become U+FFFD, as ``bytes.decode(errors="replace")`` has it. A word may be of any length up to
16 MiB; a longer one is refused, since then the file is no text. A plain file is mapped into memory and read by C++
threads; one that ends in .gz, .xz or .bz2 is decompressed a block at a time.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import mmap
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastrnn import _C

# Read between two looks at the signals, and then given back. 16 MiB take 0.14 s on two cores; with 64 MiB, a corpus of
# 100 MB trained in 47 MiB more.
BLOCK_BYTES = 16 << 20
# What a thread takes at a time: some 170,000 words, and 64 of them in a block.
PIECE_BYTES = 1 << 20
# Words of an iterable's sentences that are encoded together.
BATCH_WORDS = 1 << 18

_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}

Sentences = Iterable[Sequence[str]]


class Encoded(NamedTuple):
    """A corpus as numbers: sentence i is ``ids[offsets[i]:offsets[i + 1]]``. ids (N,) int32, offsets (S + 1,) int64."""

    ids: np.ndarray
    offsets: np.ndarray


def check_corpus(sentences: Sentences | None, corpus_file: str | os.PathLike[str] | None, again: bool = False) -> None:
    """Refuse what is no corpus.

    Args:
        again: whether the corpus will be read more than once.

    Raises:
        TypeError: both or neither of the two are given; ``sentences`` is a str, or cannot be iterated over, or is an
            iterator, which can only be read once, though ``again``.
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
            f"{type(sentences).__name__}; give a list, or an object whose __iter__ starts anew"
        )


def default_workers() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks(
    path: str | os.PathLike[str], block_bytes: int = BLOCK_BYTES, piece_bytes: int = PIECE_BYTES
) -> Iterator[tuple[memoryview | bytes, list[int]]]:
    """A file as blocks of text, and where threads may cut each: between sentences, first at 0.

    The text after a block's last cut is not lost: the next block begins with it.

    Raises:
        OSError: the file cannot be read.
        ValueError: a compressed file is truncated or damaged, or a word is longer than 16 MiB.
    """
    path = Path(path)
    with path.open("rb") as file:
        if path.suffix in _OPENERS:
            with _OPENERS[path.suffix](file) as text:
                yield from _stream(_Intact(path, text), block_bytes, piece_bytes)
        elif stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield from _mapped(file, block_bytes, piece_bytes)
        else:
            yield from _stream(file, block_bytes, piece_bytes)


class _Intact:
    """A decompressed file; whatever its decompressor says of bad data is a ValueError that names the file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file

    def read(self, size: int) -> bytes:
        try:
            return self.file.read(size)
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(f"{self.path} is truncated or damaged: {error}") from error


def _mapped(file: BinaryIO, block_bytes: int, piece_bytes: int) -> Iterator[tuple[memoryview, list[int]]]:
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        return  # nothing can be mapped
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    text = memoryview(mapped)
    start, length = 0, block_bytes
    while start < size:
        block = text[start : start + length]
        cuts = _C.word2vec.cut(block, start + length >= size, piece_bytes)
        length = block_bytes if cuts[-1] else 2 * length
        if cuts[-1]:
            yield block, cuts
            start += cuts[-1]
            give_back(mapped, start)


def _stream(file: BinaryIO | _Intact, block_bytes: int, piece_bytes: int) -> Iterator[tuple[bytes, list[int]]]:
    rest = b""
    while True:
        more = file.read(max(block_bytes, len(rest)))  # twice as much, where a sentence is longer than a block
        block = rest + more
        cuts = _C.word2vec.cut(block, not more, piece_bytes)
        yield block, cuts
        if not more:
            return
        rest = block[cuts[-1] :]


def encode(
    keys: list[str],
    sentences: Sentences | None = None,
    corpus_file: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Encoded:
    """Read a corpus as places in ``keys``; other words are dropped, and a sentence that has none left is empty.

    Args:
        directory: a folder for the two files ids.int32 and offsets.int64, which are then mapped into memory; they
            belong to the caller. By default the arrays are in memory.
        workers: threads; the result is the same for any number.

    Raises:
        TypeError, ValueError, OSError: as :func:`check_corpus` and :func:`blocks`; whatever ``sentences`` raises. The
            files in ``directory`` are then removed.
    """
    check_corpus(sentences, corpus_file)
    encoder = _C.word2vec.WordEncoder(keys)
    if corpus_file is not None:
        parts = _encode_file(encoder, corpus_file, workers or default_workers())
    else:
        parts = _encode_sentences(encoder, iter(sentences if sentences is not None else ()))
    if directory is None:
        ids, offsets = io.BytesIO(), io.BytesIO()
        _write(parts, ids, offsets)
        return Encoded(np.frombuffer(ids.getbuffer(), np.int32), np.frombuffer(offsets.getbuffer(), np.int64))
    paths = Path(directory, "ids.int32"), Path(directory, "offsets.int64")
    try:
        with paths[0].open("wb") as ids_file, paths[1].open("wb") as offsets_file:
            _write(parts, ids_file, offsets_file)
    except BaseException:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        raise
    return Encoded(_map_array(paths[0], np.int32), _map_array(paths[1], np.int64))


def _encode_file(
    encoder: _C.word2vec.WordEncoder, path: str | os.PathLike[str], workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for text, cuts in blocks(path):
        yield from encoder.encode(text, cuts, workers)


def _encode_sentences(
    encoder: _C.word2vec.WordEncoder, sentences: Iterator[Sequence[str]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while (part := encoder.encode_sentences(sentences, BATCH_WORDS)) is not None:
        yield part


def _write(parts: Iterator[tuple[np.ndarray, np.ndarray]], ids_file: BinaryIO, offsets_file: BinaryIO) -> None:
    before = 0
    offsets_file.write(np.zeros(1, np.int64).tobytes())
    for ids, lengths in parts:
        ids_file.write(ids.data)
        offsets_file.write((before + np.cumsum(lengths)).data)
        before += len(ids)


def _map_array(path: Path, dtype: type) -> np.ndarray:
    if path.stat().st_size == 0:
        return np.empty(0, dtype)  # nothing can be mapped
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def give_back(mapped: object, end: int) -> None:
    """Let the first ``end`` bytes of a mapped file no longer count as this process's memory; they can still be read.

    Args:
        mapped: the file or a view of it, as the base of an array; anything else is left alone.
    """
    if isinstance(mapped, memoryview):
        mapped = mapped.obj
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED, 0, end // mmap.PAGESIZE * mmap.PAGESIZE)
