"""Files of keys and their counts, in word2vec.c's format: a line per key. gensim calls such a file fvocab."""

from __future__ import annotations

import os

import numpy as np

from fastrnn.word2vec.files.compression import opened, replacing
from fastrnn.word2vec.vectors.word2vec_rows import whole_number


def save_counts(file: str | os.PathLike[str], keys: list[str], counts: np.ndarray) -> None:
    """Write a line for each of the keys (V) with its count (V,)."""
    with replacing(file) as out:
        out.writelines(f"{key} {count}\n".encode() for key, count in zip(keys, counts.tolist(), strict=True))


def load_counts(file: str | os.PathLike[str], keys: list[str], encoding: str, unicode_errors: str) -> np.ndarray:
    """Read the counts (V,) of keys (V).

    Raises:
        ValueError: A line is not a key and a count, or a key has no line.
    """
    name, found = os.fspath(file), {}
    with opened(file) as source:
        for number, line in enumerate(source, 1):
            try:
                fields = line.decode(encoding, unicode_errors).split()
            except UnicodeError as error:
                raise ValueError(f"{name}, line {number}: not valid {encoding}: {error}") from error
            if len(fields) != 2 or whole_number(fields[1].encode()) is None:
                raise ValueError(
                    f"{name}, line {number}: expected a key and its count (below 2**63), got {line[:60]!r}"
                )
            found[fields[0]] = int(fields[1])
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f"{name}: no count for {len(missing)} of {len(keys)} keys, the first {missing[0]!r}")
    return np.array([found[key] for key in keys], dtype=np.int64)
