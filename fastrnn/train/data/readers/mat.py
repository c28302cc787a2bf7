"""MATLAB's .mat files of version 5 to 7: arrays of numbers, and cells of these.

scipy.io.loadmat reads more kinds, but a damaged file ends the process there (scipy 1.17.1). The format is MathWorks',
"MAT-File Format": a header of 128 bytes, and elements of a tag (type, bytes) and data. A matrix is an element made of
elements: flags, dimensions, name, and its numbers or, for a cell, matrices.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from fastrnn.word2vec.files.compression import UNPACKED_BYTES, UNPACKED_TIMES

Value: TypeAlias = "np.ndarray | list[np.ndarray]"

_MATRIX, _COMPRESSED = 14, 15
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CELL, _NUMBERS, _COMPLEX = 1, range(6, 16), 0x0800


def read_mat(content: bytes, names: Sequence[str]) -> dict[str, Value]:
    """The variables of these names that are in a file: an array each, or a list of arrays for a cell.

    Raises:
        ValueError: it is no such file, or damaged; or such a variable is of another kind.
    """
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:19] == b"MATLAB 7.3 MAT-file":
        raise ValueError("its version is 7.3; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("it lacks the header of a .mat file of version 5 to 7")
    found: dict[str, Value] = {}
    for kind, data in _elements(memoryview(content)[128:], order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(memoryview(_decompressed(data)), order), (0, data))
        if kind == _MATRIX:
            name, value = _matrix(data, order, names)
            if value is not None:
                found[name] = value
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The elements that data consists of: their types and data."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("it is truncated or damaged")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to 4 bytes of data in the tag itself
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
            at, most = at + 8, 4
        else:
            begin, most = at + 8, len(data) - at - 8
            at = begin + size + (0 if kind == _COMPRESSED else -size % 8)
        if size > most:
            raise ValueError("it is truncated or damaged")
        yield kind, data[begin : begin + size]


def _matrix(data: memoryview, order: str, names: Sequence[str] | None) -> tuple[str, Value | None]:
    """A variable's name and value, None unless it is among ``names``. Without ``names``: one matrix of a cell."""
    elements = _elements(data, order)
    try:
        flags = _array(*next(elements), order)
        shape = tuple(int(size) for size in _array(*next(elements), order))
        name = bytes(next(elements)[1]).decode("latin-1")
    except StopIteration:
        raise ValueError("it is truncated or damaged") from None
    if names is not None and name not in names:
        return name, None
    kind, is_complex = (int(flags[0]) & 0xFF, int(flags[0]) & _COMPLEX) if len(flags) else (0, 0)
    if kind == _CELL and names is not None:
        cells = [_matrix(each, order, None)[1] for of, each in elements if of == _MATRIX]
        if len(cells) != math.prod(shape):
            raise ValueError(f"{name} has {len(cells)} cells, not {math.prod(shape)}; it is damaged")
        return name, [cell for cell in cells if isinstance(cell, np.ndarray)]
    if kind not in _NUMBERS or is_complex:
        raise ValueError(f"expected arrays of real numbers or a cell of them, got MATLAB's class {kind}")
    numbers = _array(*next(elements, (2, memoryview(b""))), order)
    if min(shape, default=-1) < 0 or len(numbers) != math.prod(shape):
        raise ValueError(f"an array {shape} has {len(numbers)} numbers; it is damaged")
    return name, numbers.reshape(shape, order="F")


def _array(kind: int, data: memoryview, order: str) -> np.ndarray:
    """The numbers of an element."""
    if kind not in _DTYPES:
        raise ValueError(f"expected numbers, got data of type {kind}; it is damaged")
    dtype = np.dtype(order + _DTYPES[kind])
    if len(data) % dtype.itemsize:
        raise ValueError("it is truncated or damaged")
    return np.frombuffer(data, dtype)


def _decompressed(data: memoryview) -> bytes:
    most = max(UNPACKED_BYTES, UNPACKED_TIMES * len(data))
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, most)
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from None
    if not unpacker.eof:
        raise ValueError(f"it is truncated, or unpacks to more than {most} bytes")
    return content
