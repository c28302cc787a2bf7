"""A model in a file: a numpy .npz of plain arrays, which is read without running anything from it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from fastrnn._saving import replacing
from fastrnn.word2vec.attributes import columns_of
from fastrnn.word2vec.parameters import Parameters
from fastrnn.word2vec.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fastrnn.word2vec.model import Word2Vec

FORMAT = "fastrnn.word2vec 1"


def save(model: Word2Vec, path: str | os.PathLike[str]) -> None:
    """Write a model with a vocabulary. Raises OSError, and then leaves what was there before."""
    vocabulary, size = model.vocabulary, model.settings.vector_size
    arrays = {name: rows[:, :size] for name, rows in model.parameters.arrays().items()}
    arrays |= {"counts": vocabulary.counts}
    arrays |= {"losses": np.array(model.losses), "pairs": np.array(model.pairs, dtype=np.int64)}
    arrays |= {"running_training_loss": np.array(model.running_training_loss)}
    arrays |= {"vectors_lockf": np.asarray(model.wv.vectors_lockf, dtype=np.float32)}
    settings = model.settings.as_dict() | {"deterministic": model.deterministic}
    totals = {"total_words": vocabulary.total_words, "sentences": vocabulary.sentences}
    attributes = {name: column.tolist() for name, column in model.wv.expandos.items() if name != "count"}
    write(path, {"model": settings, "totals": totals, "attributes": attributes}, vocabulary.index_to_key, arrays)


def load(model_class: type[Word2Vec], path: str | os.PathLike[str], workers: int | None) -> Word2Vec:
    """Read what :func:`save` has written. Raises OSError, ValueError."""
    settings, keys, arrays = read(path)
    model = model_class(workers=workers, **settings["model"])
    vocabulary = Vocabulary(keys, arrays["counts"], **settings["totals"])
    model._install(vocabulary, Parameters.from_arrays(arrays))
    model.wv.expandos = dict(columns_of({"count": vocabulary.counts} | settings.get("attributes", {}), len(keys)))
    model.wv.vectors_lockf = arrays.get("vectors_lockf", model.wv.vectors_lockf)
    model.running_training_loss = float(arrays.get("running_training_loss", 0))
    model.losses, model.pairs = arrays["losses"].tolist(), arrays["pairs"].tolist()
    return model


def write(
    path: str | os.PathLike[str], settings: dict[str, Any], keys: list[str], arrays: dict[str, np.ndarray]
) -> None:
    """Write the file, as :func:`fastrnn._saving.replacing` does. Raises OSError."""
    text = {"settings": json.dumps({"format": FORMAT, **settings}), "keys": json.dumps(keys)}
    encoded: dict[str, Any] = {name: np.frombuffer(value.encode(), dtype=np.uint8) for name, value in text.items()}
    with replacing(path) as out:
        np.savez(out, **encoded | arrays)


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
