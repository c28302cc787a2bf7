"""Files as blocks of text; and as arrays, mapped into memory and given back when read."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.files.compression import is_compressed, opened

# Read between two looks at the signals, 0.2 s on two cores, and then given back. With 64 MiB, a corpus of 100 MB was
# trained in 47 MiB more than with 16, and phrases are found and joined 5 % faster than with 24.
BLOCK_BYTES = 24 << 20
# What a thread takes at a time: some 170,000 words, and 24 of them in a block.
PIECE_BYTES = 1 << 20


def blocks(
    path: str | os.PathLike[str], block_bytes: int = BLOCK_BYTES, piece_bytes: int = PIECE_BYTES
) -> Iterator[tuple[memoryview, list[int]]]:
    """A file as blocks of text, and where threads may cut each: between sentences, first at 0.

    The text after a block's last cut is not lost: the next block begins with it. A block is valid until the next is
    asked for, which takes its memory. The file is read and not mapped: cutting a mapped file short would end the
    process. Of a plain file what it has at the beginning is read, and nothing that is appended meanwhile.

    Raises:
        OSError: the file cannot be read.
        ValueError: a compressed file is truncated or damaged, a plain one was cut short while it was read, or a word is
            longer than 16 MiB.
    """
    with opened(path) as file:
        status = os.fstat(file.fileno()) if not is_compressed(path) else None
        size = status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None
        buffer, kept, done = bytearray(block_bytes), 0, 0
        while size is None or done < size:
            if kept == len(buffer):  # a sentence is longer than a block
                buffer = buffer + bytes(len(buffer))
            view = memoryview(buffer)
            count = file.readinto(view[kept:])  # type: ignore[attr-defined]
            if size is not None:
                count = min(count, size - done)
                if count == 0:
                    raise ValueError(f"{os.fspath(path)} was cut short to {done} of {size} bytes while it was read")
            done += count
            filled = kept + count
            block = view[:filled]
            cuts = _C.cut(block, done == size if size is not None else count == 0, piece_bytes)
            if cuts[-1] or count == 0:
                yield block, cuts
            if count == 0:
                return
            kept = filled - cuts[-1]
            if cuts[-1]:
                buffer[:kept] = bytes(view[cuts[-1] : filled])


def map_array(path: Path, dtype: type) -> np.ndarray:
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
