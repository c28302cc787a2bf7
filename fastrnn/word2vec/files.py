"""Files: read whatever their compression, and written beside the old one, which they replace once they are whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def opened(file: str | os.PathLike[str]) -> IO[bytes]:
    """A file open for reading bytes; .gz, .bz2 and .xz are decompressed."""
    return cast("IO[bytes]", OPENERS.get(Path(file).suffix, open)(file, "rb"))


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file open for writing bytes, compressed as its name says.

    It is written beside ``file`` as ``file.part`` and takes its name when all is on the disc. Whatever goes wrong
    before, a full disc or Ctrl-C, leaves an older ``file`` as it was and no part behind.
    """
    whole = Path(file).resolve()
    part = whole.with_name(whole.name + ".part")
    try:
        with open(part, "wb") as plain:
            if whole.suffix in OPENERS:
                with OPENERS[whole.suffix](plain, "wb") as compressed:
                    yield compressed
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        part.replace(whole)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
