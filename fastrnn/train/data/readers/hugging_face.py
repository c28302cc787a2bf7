"""Data sets of the Hugging Face ``datasets`` library, loaded or saved in a folder. Nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from fastrnn.train.data.readers.files import missing


def read_dataset(source: Any, columns: Sequence[str], split: str | None = None) -> list[tuple[Any, ...]]:
    """The rows of a data set, with these columns in this order.

    Args:
        source: a ``Dataset`` or ``DatasetDict``, or a folder that one was saved to (``save_to_disk``).
        split: the part of a ``DatasetDict``, such as ``"train"``.

    Raises:
        ImportError: ``source`` is a folder, and the library is not installed.
        FileNotFoundError: there is no such folder.
        ValueError: a column or the split is unknown, or the data set is empty.
    """
    found = _loaded(source) if isinstance(source, (str, os.PathLike)) else source
    if isinstance(found, Mapping):
        if split not in found:
            asked = "pass split=, one of" if split is None else f"there is no split {split!r}, only"
            raise ValueError(f"the data set is split: {asked} {', '.join(map(repr, found))}")
        found = found[split]
    elif split is not None:
        raise ValueError(f"split={split!r}, but the data set is not split")
    names = getattr(found, "column_names", None)
    if names is None:
        raise TypeError(f"expected a Dataset, a DatasetDict or a folder, got {type(source).__name__}")
    unknown = [column for column in columns if column not in names]
    if unknown or isinstance(columns, str) or not columns:
        raise ValueError(f"columns must be a list of names out of {', '.join(map(repr, names))}; got {columns!r}")
    rows = list(zip(*(found[column] for column in columns), strict=True))
    if not rows:
        raise ValueError("the data set is empty")
    return rows


def _loaded(folder: str | os.PathLike[str]) -> Any:
    if not os.path.isdir(folder):
        raise missing(Path(folder), "The method save_to_disk saves a data set into a folder.")
    try:
        library = import_module("datasets")
    except ImportError as error:
        raise ImportError("a saved data set needs the datasets library. Type: pip install datasets") from error
    return library.load_from_disk(os.fspath(folder))
