"""Reading and writing files that may be compressed: .gz, .bz2 and .xz, told by the name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from fastrnn import _saving

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# Limits against decompression bombs: a file that unpacks to more than both is refused. gzip shrinks zeros 1000 times,
# bzip2 a million times, but both shrink text and vectors only 2 to 10 times.
UNPACKED_BYTES = 1 << 30
UNPACKED_TIMES = 100


def is_compressed(file: str | os.PathLike[str]) -> bool:
    """Whether the name says that the file is compressed."""
    return Path(file).suffix in OPENERS


def most_unpacked(file: str | os.PathLike[str]) -> int:
    """The number of bytes a compressed file may unpack to."""
    return max(UNPACKED_BYTES, UNPACKED_TIMES * os.path.getsize(file))


def opened(file: str | os.PathLike[str]) -> BinaryIO:
    """A file open for reading bytes; .gz, .bz2 and .xz are decompressed.

    Raises:
        OSError: the file cannot be read.
        ValueError: on reading: the file is damaged, or unpacks to more than 1 GiB and 100 times its size.
    """
    if not is_compressed(file):
        return open(file, "rb")
    return io.BufferedReader(_Unpacked(file), 1 << 20)


class _Unpacked(io.RawIOBase):
    """A decompressed file. Errors of the decompressor become a ValueError that names the file and the position."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self._name, self._most, self._place = os.fspath(file), most_unpacked(file), 0
        self._source = OPENERS[Path(file).suffix](file, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._source.readinto(buffer)
        except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(
                f"{self._name} is truncated or damaged after {self._place} uncompressed bytes: {error}"
            ) from error
        self._place += count
        if self._place > self._most:
            raise ValueError(
                f"{self._name} unpacks to more than {self._most} bytes; the limit is 1 GiB or 100 times the file's "
                "size, whichever is larger. If you trust the file, decompress it first"
            )
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """:func:`fastrnn._saving.replacing`, compressed if the name says so."""
    with _saving.replacing(file) as plain:
        if is_compressed(file):
            with OPENERS[Path(file).suffix](plain, "wb") as compressed:
                yield compressed
        else:
            yield plain
