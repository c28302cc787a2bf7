"""A model in a file: a numpy .npz of plain arrays, which is read without running anything from it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import BadZipFile

import numpy as np

FORMAT = "fastrnn.word2vec 1"


def write(
    path: str | os.PathLike[str], settings: dict[str, Any], keys: list[str], arrays: dict[str, np.ndarray]
) -> None:
    """Write beside ``path``, then rename: a full disc leaves what was there before.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    text = {"settings": json.dumps({"format": FORMAT, **settings}), "keys": json.dumps(keys)}
    encoded: dict[str, Any] = {name: np.frombuffer(value.encode(), dtype=np.uint8) for name, value in text.items()}
    temporary = None
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = file.name
            np.savez(file, **encoded | arrays)
        os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], list[str], dict[str, np.ndarray]]:
    """Settings, keys and arrays of a file that :func:`write` has written.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, or is damaged.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        settings = json.loads(arrays.pop("settings").tobytes())
        keys = json.loads(arrays.pop("keys").tobytes())
    except (ValueError, KeyError, AttributeError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{os.fspath(path)} is not a model saved by fastrnn.word2vec, or damaged: {error}") from None
    if settings.pop("format", None) != FORMAT:
        raise ValueError(f"{os.fspath(path)} is not of the format {FORMAT!r}")
    return settings, keys, arrays
