"""fastrnn's own format of word vectors: a readable header, then raw numbers that can be mapped into memory. No pickle.

The first line identifies the format. The second is a JSON object of sizes, padded with spaces so that the numbers begin
at a multiple of 64 bytes. Then come the vectors (rows × size little-endian float32), the counts if there are any (rows
little-endian int64), and the keys as a JSON array. If keys have attributes other than their count, the last part is an
object instead: the array as "keys", and the attributes by name as "attributes".
"""

from __future__ import annotations

import json
import mmap as mapping
import os
from typing import Any

import numpy as np

from fastrnn.word2vec.files.compression import replacing
from fastrnn.word2vec.files.json_fields import count, fields, parsed
from fastrnn.word2vec.vectors.attributes import columns_of

MAGIC = b"fastrnn word vectors 1\n"
HEADER = 256  # bytes of the first two lines, a multiple of 64; the largest sizes take about 150


def save(file: str | os.PathLike[str], keys: list[Any], vectors: np.ndarray, expandos: dict[str, np.ndarray]) -> None:
    """Write keys (V), vectors (V, D) and attributes (V,). An old file is replaced once the new one is complete."""
    counts = expandos.get("count")
    others = {name: column.tolist() for name, column in expandos.items() if name != "count"}
    names = json.dumps({"keys": keys, "attributes": others} if others else keys).encode("ascii")
    sizes = {"rows": len(keys), "size": vectors.shape[1], "counts": counts is not None, "keys": len(names)}
    header = MAGIC + json.dumps(sizes).encode("ascii")
    with replacing(file) as out:
        out.write(header.ljust(HEADER - 1) + b"\n")
        out.write(np.ascontiguousarray(vectors, dtype="<f4").data)
        if counts is not None:
            out.write(counts.astype("<i8").tobytes())
        out.write(names)


def load(file: str | os.PathLike[str], mmap: bool = False) -> tuple[list[Any], np.ndarray, dict[str, np.ndarray]]:
    """Read what :func:`save` wrote.

    With ``mmap`` the vectors are read from the file page by page as they are used, and processes share these pages.
    Writing into them changes only this process's copy, never the file.

    Raises:
        ValueError: The file is of another kind, or its size does not agree with its header.
    """
    name = os.fspath(file)
    with open(file, "rb") as source:
        rows, size, counted, key_bytes = _sizes(name, source.read(HEADER))
        expected = HEADER + 4 * rows * size + 8 * rows * counted + key_bytes
        actual = os.fstat(source.fileno()).st_size
        if actual != expected:
            raise ValueError(f"{name}: its header says {rows} vectors of {size}, {expected} bytes, but it has {actual}")
        if mmap:
            mapped = mapping.mmap(source.fileno(), 0, access=mapping.ACCESS_COPY)
            vectors = np.frombuffer(mapped, dtype="<f4", count=rows * size, offset=HEADER)
            source.seek(HEADER + vectors.nbytes)
        else:
            vectors = np.fromfile(source, dtype="<f4", count=rows * size)
        counts = np.fromfile(source, dtype="<i8", count=rows) if counted else None
        try:
            keys: Any = parsed(source.read())
        except ValueError as error:
            raise ValueError(f"{name}: its keys are damaged: {error}") from error
    attributes: dict[str, Any] = {}
    if isinstance(keys, dict):
        both = ("keys", "attributes")
        keys, attributes = (fields(keys, f"{name}: its keys", both)[each] for each in both)
    known = isinstance(keys, list) and len(keys) == rows and {*map(type, keys)} <= {str, int}
    if not (known and len({*keys}) == rows):
        raise ValueError(f"{name}: its keys must be {rows} distinct strings or integers")
    if not isinstance(attributes, dict) or "count" in attributes:
        raise ValueError(f"{name}: its attributes must be a JSON object without 'count'")
    try:
        expandos = dict(columns_of(({} if counts is None else {"count": counts}) | attributes, rows))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: its attributes are damaged: {error}") from error
    return keys, vectors.reshape(rows, size), expandos


def _sizes(name: str, header: bytes) -> tuple[int, int, bool, int]:
    if not header.startswith(MAGIC):
        what = ", but a pickle, which could run code and is never loaded" if header[:1] == b"\x80" else ""
        raise ValueError(
            f"{name}: not a file of WordVectors.save{what}; for files of word2vec, GloVe and fastText use "
            "load_word2vec_format"
        )
    try:
        names = ("rows", "size", "counts", "keys")
        sizes = fields(parsed(header[len(MAGIC) :]), "its sizes", names)
        rows, size, key_bytes = (count(sizes[each], each) for each in ("rows", "size", "keys"))
        if type(sizes["counts"]) is not bool:
            raise ValueError("counts must be true or false")
        return rows, size, sizes["counts"], key_bytes
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name}: its header is damaged: {error}") from error
