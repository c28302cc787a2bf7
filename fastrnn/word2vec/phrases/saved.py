"""Phrases in JSON files: their options, and reading with checks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastrnn.word2vec.files.compression import opened, replacing
from fastrnn.word2vec.files.json_fields import fields, number, parsed, strings

if TYPE_CHECKING:
    from fastrnn.word2vec.phrases.detection import Phrases
    from fastrnn.word2vec.phrases.frozen import FrozenPhrases


def write(path: str | os.PathLike[str], form: str, content: dict[str, Any]) -> None:
    """Write a JSON object with its format, ``form``. An existing file is replaced once the new one is complete."""
    with replacing(path) as file:
        file.write(json.dumps({"format": form} | content, ensure_ascii=False).encode())


@contextmanager
def reading(path: str | os.PathLike[str], form: str, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The JSON object in a file, with these names and no others. Errors in the ``with`` block name the file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another format or other names, or the block raises ValueError, KeyError or TypeError.
    """
    try:
        with opened(path) as file:
            saved = parsed(file.read())
        if not isinstance(saved, dict) or saved.get("format") != form:
            raise ValueError("it has another format")
        yield fields(saved, "the file", ("format", *names))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of {form!r}, or is damaged: {error}") from error


def options_of(phrases: Phrases | FrozenPhrases) -> dict[str, Any]:
    """The options as JSON can hold them; a scoring function becomes its name."""
    options = {name: getattr(phrases, name) for name in ("min_count", "threshold", "delimiter")}
    scoring = getattr(phrases.scoring, "__name__", "function") if callable(phrases.scoring) else phrases.scoring
    return options | {"scoring": scoring, "connector_words": sorted(phrases.connector_words)}


def checked_options(options: Any, *more: str) -> dict[str, Any]:
    """Check options that :func:`options_of` returned, and ``more`` names. Raises ValueError."""
    fields(options, "options", ("min_count", "threshold", "delimiter", "scoring", "connector_words", *more))
    for name in ("min_count", "threshold"):
        number(options[name], name)
    for name in ("delimiter", "scoring"):
        if not isinstance(options[name], str) or not options[name]:
            raise ValueError(f"{name} must be a non-empty string")
    strings(options["connector_words"], "connector_words")
    return options
