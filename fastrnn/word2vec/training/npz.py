"""Arrays in numpy's .npz format. Names, types and sizes are checked before memory is allocated.

numpy.load accepts far more than numpy.savez writes: compressed members that unpack to any size, pickles, headers that
announce more data than the file has. Here a member must be uncompressed and exactly as long as its header says.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from fastrnn.word2vec.training.parameters import empty_rows

AT_ONCE = 1 << 20  # bytes of a matrix that are read at once
Shape = tuple[int, ...]


class Archive:
    """The arrays of a file."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self._members or name == member.filename:
                raise ValueError(f"unexpected or repeated member {member.filename!r}")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed; saved files never are")
            self._members[name] = member

    def names(self) -> set[str]:
        """The names of all arrays."""
        return {*self._members}

    def vector(self, name: str, dtype: Any, length: int | None = None) -> np.ndarray:
        """A vector (n,) of the given type; n must be ``length`` if that is given."""
        with self._opened(name, dtype) as (source, shape):
            if len(shape) != 1 or (length is not None and shape[0] != length):
                raise ValueError(f"{name} must have shape [{'n' if length is None else length}], got {list(shape)}")
            return np.frombuffer(source.read(), dtype).copy()

    def matrix(self, name: str, shape: Shape) -> np.ndarray:
        """A float32 matrix in the kernel's layout (``training.parameters.empty_rows``), read without a second copy."""
        with self._opened(name, np.float32) as (source, found):
            if found != shape:
                raise ValueError(f"{name} must have shape {list(shape)}, got {list(found)}")
            rows, size = empty_rows(*shape), shape[1]
            step = max(1, AT_ONCE // (4 * size))
            for begin in range(0, shape[0], step):
                end = min(begin + step, shape[0])
                rows[begin:end, :size] = np.frombuffer(source.read(4 * size * (end - begin)), "<f4").reshape(-1, size)
            source.read()  # reads no bytes, but makes zipfile verify the checksum
        return rows

    @contextmanager
    def _opened(self, name: str, dtype: Any) -> Iterator[tuple[IO[bytes], Shape]]:
        """A member, positioned after its header, and the shape in the header."""
        if name not in self._members:
            raise ValueError(f"{name} is missing")
        member, expected = self._members[name], np.dtype(dtype).newbyteorder("<")
        with self._file.open(member) as source:
            if np.lib.format.read_magic(source) != (1, 0):
                raise ValueError(f"{name} has an unsupported version of numpy's .npy format")
            shape, by_columns, found = np.lib.format.read_array_header_1_0(source)
            if found != expected or by_columns:
                raise ValueError(
                    f"{name} must be {expected.name} in C order, got {found}{' in Fortran order' * by_columns}"
                )
            needed, there = math.prod(shape) * found.itemsize, member.file_size - source.tell()
            if needed != there:
                raise ValueError(f"{name} has {there} bytes, but its shape {shape} needs {needed}")
            yield source, shape


@contextmanager
def opened_archive(path: str | os.PathLike[str], what: str) -> Iterator[Archive]:
    """Open an archive. Errors in the ``with`` block become a ValueError that names the file.

    Args:
        what: what the file should be, for the message.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an archive, or its content is not as expected.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield Archive(archive)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        NotImplementedError,
        OverflowError,
        RuntimeError,  # an encrypted member, or too deep nesting
    ) as error:
        raise ValueError(f"{os.fspath(path)} is not {what}, or is damaged: {error}") from None
