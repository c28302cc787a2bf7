"""Files of words and vectors, read and written whatever their compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from fastrnn import _saving

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def opened(file: str | os.PathLike[str]) -> IO[bytes]:
    """A file open for reading bytes; .gz, .bz2 and .xz are decompressed."""
    return cast("IO[bytes]", OPENERS.get(Path(file).suffix, open)(file, "rb"))


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """:func:`fastrnn._saving.replacing`, compressed as the name says."""
    with _saving.replacing(file) as plain:
        if Path(file).suffix in OPENERS:
            with OPENERS[Path(file).suffix](plain, "wb") as compressed:
                yield compressed
        else:
            yield plain
