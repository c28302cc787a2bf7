"""Saving and loading a model as a numpy .npz of plain arrays. Loading never runs code from the file."""

from __future__ import annotations

import json
import os
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn._saving import replacing
from fastrnn.word2vec.corpus.vocabulary import Vocabulary
from fastrnn.word2vec.files.json_fields import count, fields, parsed, strings
from fastrnn.word2vec.settings import Settings
from fastrnn.word2vec.training.npz import Archive, opened_archive
from fastrnn.word2vec.training.parameters import Parameters
from fastrnn.word2vec.vectors.attributes import columns_of

if TYPE_CHECKING:
    from fastrnn.word2vec.model import Word2Vec

FORMAT = "fastrnn.word2vec 1"
SETTINGS = [field.name for field in fields_of(Settings)]
ALWAYS = {"settings", "keys", "syn0", "counts", "losses", "pairs"}
SINCE = {"running_training_loss", "vectors_lockf"}  # missing in files of earlier versions, like attributes


def save(model: Word2Vec, path: str | os.PathLike[str]) -> None:
    """Write a model with a vocabulary. If that raises OSError, an existing file is unchanged."""
    parts = dict(vars(model))  # one consistent snapshot: another thread may install a larger vocabulary
    vocabulary, settings = parts["vocabulary"], parts["settings"]
    parameters = parts["parameters"].with_outputs(settings).arrays()
    arrays = {name: rows[:, : settings.vector_size] for name, rows in parameters.items()}
    arrays |= {"counts": vocabulary.counts}
    arrays |= {"losses": np.array(model.losses, dtype=np.float64), "pairs": np.array(model.pairs, dtype=np.int64)}
    arrays |= {"running_training_loss": np.array([model.running_training_loss])}
    arrays |= {"vectors_lockf": np.asarray(model.wv.vectors_lockf, dtype=np.float32)}
    attributes = {name: column.tolist() for name, column in model.wv.expandos.items() if name != "count"}
    totals = {"total_words": vocabulary.total_words, "sentences": vocabulary.sentences}
    text = {
        "settings": {
            "format": FORMAT,
            "model": settings.as_dict() | {"deterministic": model.deterministic},
            "totals": totals,
            "attributes": attributes,
        },
        "keys": vocabulary.index_to_key,
    }
    encoded: dict[str, Any] = {
        name: np.frombuffer(json.dumps(value).encode(), dtype=np.uint8) for name, value in text.items()
    }
    with replacing(path) as out:
        np.savez(out, **encoded | arrays)


def load(model_class: type[Word2Vec], path: str | os.PathLike[str], workers: int | None) -> Word2Vec:
    """Read a file of :func:`save`. Anything that :func:`save` does not write is an error.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is of another kind or damaged, or its parts do not fit together.
    """
    with opened_archive(path, f"a model that Word2Vec.save wrote ({FORMAT!r})") as archive:
        about = fields(_json(archive, "settings"), "settings", ("format", "model", "totals"), ("attributes",))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {str(about['format'])[:40]!r}")
        settings = fields(about["model"], "settings", [*SETTINGS, "deterministic"])
        if type(settings["deterministic"]) is not bool:
            raise ValueError("deterministic must be true or false")
        model = model_class(workers=workers, **settings)
        vocabulary = _vocabulary(archive, about["totals"])
        outputs = {"syn1": bool(model.settings.hs), "syn1neg": bool(model.settings.negative)}
        names = archive.names() - ALWAYS - SINCE - {*outputs}
        if names:
            raise ValueError(f"{min(names)!r} is unknown")
        model._install(vocabulary, _parameters(archive, len(vocabulary), model.settings.vector_size, outputs))
        attributes = about.get("attributes", {})
        if not isinstance(attributes, dict) or "count" in attributes:
            raise ValueError("attributes must be a JSON object without 'count'")
        model.wv.expandos = dict(columns_of({"count": vocabulary.counts} | attributes, len(vocabulary)))
        model.losses = archive.vector("losses", np.float64).tolist()
        model.pairs = archive.vector("pairs", np.int64, len(model.losses)).tolist()
        if "running_training_loss" in archive.names():
            model.running_training_loss = float(archive.vector("running_training_loss", np.float64, 1)[0])
        if "vectors_lockf" in archive.names():
            model.wv.vectors_lockf = archive.vector("vectors_lockf", np.float32)
            if len(model.wv.vectors_lockf) not in (1, len(vocabulary)):
                raise ValueError(f"vectors_lockf must have shape [1] or [{len(vocabulary)}]")
    return model


def _json(archive: Archive, name: str) -> Any:
    return parsed(archive.vector(name, np.uint8).tobytes())


def _vocabulary(archive: Archive, totals: Any) -> Vocabulary:
    keys = strings(_json(archive, "keys"), "keys")
    counts = archive.vector("counts", np.int64, len(keys))
    if not keys or counts.min() < 0:
        raise ValueError("there must be at least one word, and counts of 0 or more")
    totals = fields(totals, "totals", ("total_words", "sentences"))
    return Vocabulary(keys, counts, **{name: count(value, name) for name, value in totals.items()})


def _parameters(archive: Archive, words: int, size: int, outputs: dict[str, bool]) -> Parameters:
    """The matrices: syn0, those that the settings need, and any others in the file."""
    rows = {"syn0": words, "syn1": max(words - 1, 1), "syn1neg": words}
    wanted = {"syn0", *(name for name, needed in outputs.items() if needed or name in archive.names())}
    syn0, *others = (archive.matrix(name, (rows[name], size)) if name in wanted else None for name in rows)
    return Parameters(syn0, *others)  # type: ignore[arg-type]
