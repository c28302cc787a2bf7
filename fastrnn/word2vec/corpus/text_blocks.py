"""Files as blocks of text, and files as arrays that are mapped into memory."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.files.compression import is_compressed, opened

# Read between two checks for signals: 0.2 s of work on two cores. With 64 MiB, training on 100 MB takes 47 MiB more
# memory than with 16 MiB; finding and joining phrases is 5 % faster than with 24 MiB.
BLOCK_BYTES = 24 << 20
# What a thread takes at a time: about 170,000 words; a block has 24 such pieces.
PIECE_BYTES = 1 << 20


def blocks(
    path: str | os.PathLike[str], block_bytes: int = BLOCK_BYTES, piece_bytes: int = PIECE_BYTES
) -> Iterator[tuple[memoryview, list[int]]]:
    """A file as blocks of text, each with the places where threads may cut it: 0, then ends of sentences.

    The text after a block's last cut is the beginning of the next block. A block is valid until the next one is
    requested, which reuses its memory. The file is read, not mapped: truncating a mapped file would kill the process.
    A plain file is read up to the size it had when it was opened; anything appended later is ignored.

    Raises:
        OSError: the file cannot be read.
        ValueError: a compressed file is truncated or damaged, a plain one was truncated during reading, or a word is
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
                    raise ValueError(f"{os.fspath(path)} was truncated from {size} to {done} bytes while it was read")
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
        return np.empty(0, dtype)  # an empty file cannot be mapped
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype)


def release_pages(mapped: object, end: int) -> None:
    """Release the memory of the first ``end`` bytes of a mapped file; reading them again loads them again.

    Args:
        mapped: a mapped file or a view of one, such as the base of an array; anything else is ignored.
    """
    if isinstance(mapped, memoryview):
        mapped = mapped.obj
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED, 0, end // mmap.PAGESIZE * mmap.PAGESIZE)
