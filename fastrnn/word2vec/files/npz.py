"""Arrays in numpy's .npz, read with a check of every name, type and size before memory is taken for it.

What numpy.load accepts is far more than numpy.savez writes: compressed members that unpack to any size, pickles,
headers that announce more than the file has. Here a member must be stored as it is, and as long as its header says.
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

AT_ONCE = 1 << 20  # bytes of a matrix
Shape = tuple[int, ...]


class Archive:
    """The arrays of a file."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self._members or name == member.filename:
                raise ValueError(f"it has a member {member.filename!r}, unknown or twice")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, which a saved file never is")
            self._members[name] = member

    def names(self) -> set[str]:
        """The names of all arrays."""
        return {*self._members}

    def vector(self, name: str, dtype: Any, length: int | None = None) -> np.ndarray:
        """An array (n,) of a type; ``length`` is what n must be."""
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
            source.read()  # of nothing: the checksum is looked at where a member ends
        return rows

    @contextmanager
    def _opened(self, name: str, dtype: Any) -> Iterator[tuple[IO[bytes], Shape]]:
        """A member behind its header, and the shape that the header says."""
        if name not in self._members:
            raise ValueError(f"{name} is missing")
        member, expected = self._members[name], np.dtype(dtype).newbyteorder("<")
        with self._file.open(member) as source:
            if np.lib.format.read_magic(source) != (1, 0):
                raise ValueError(f"{name} is of another version of numpy's format")
            shape, by_columns, found = np.lib.format.read_array_header_1_0(source)
            if found != expected or by_columns:
                raise ValueError(f"{name} must be of type {expected.name}, by rows; got {found}")
            if math.prod(shape) * found.itemsize != member.file_size - source.tell():
                raise ValueError(f"{name} has {member.file_size - source.tell()} bytes, too few or many for {shape}")
            yield source, shape


@contextmanager
def opened_archive(path: str | os.PathLike[str], what: str) -> Iterator[Archive]:
    """An archive, and errors that name it.

    Args:
        what: it is, for the errors.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none, or what is done with it raises ValueError or TypeError.
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
        RuntimeError,  # an encrypted member; and what is nested too deep
    ) as error:
        raise ValueError(f"{os.fspath(path)} is not {what}, or damaged: {error}") from None
