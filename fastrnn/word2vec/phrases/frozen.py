"""Frozen phrases: the phrases that were found, without the counts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus.arguments import default_workers
from fastrnn.word2vec.files.compression import opened, replacing
from fastrnn.word2vec.files.json_fields import fields, number, parsed, strings
from fastrnn.word2vec.phrases.joining import Joining

if TYPE_CHECKING:
    from fastrnn.word2vec.phrases.detection import Phrases

_FROZEN_FORMAT = "fastrnn frozen phrases 1"


class FrozenPhrases(Joining):
    """Only the phrases that a :class:`Phrases` found: small, but no more can be added.

    As in gensim, a phrase is then identified by its text: where words contain the delimiter, ``new_york city`` is a
    phrase if ``new york_city`` is.

    Attributes:
        phrasegrams: a read-only mapping of phrases to scores.
        scoring: the name of the scoring that was used.
    """

    def __init__(self, phrases_model: Phrases) -> None:
        self._set(options_of(phrases_model), phrases_model.export_phrases(), phrases_model.workers)

    def _set(self, options: dict[str, Any], phrasegrams: dict[str, float], workers: int) -> None:
        self.min_count, self.threshold = options["min_count"], options["threshold"]
        self.delimiter, self.scoring = options["delimiter"], options["scoring"]
        self.connector_words = frozenset(options["connector_words"])
        self.phrasegrams: Mapping[str, float] = MappingProxyType(phrasegrams)
        self.workers = workers
        self._known: _C.PhraseJoiner = _C.PhraseJoiner(self.delimiter, sorted(self.connector_words), list(phrasegrams))

    def __setattr__(self, name: str, value: Any) -> None:
        if "_known" in self.__dict__ and name != "workers":
            raise AttributeError(f"frozen phrases cannot be changed; set {name} of the Phrases and freeze() them again")
        super().__setattr__(name, value)

    def _joiner(self) -> _C.PhraseJoiner:
        return self._known

    def _score(self, first: str, last: str, joined: str) -> float:
        return self.phrasegrams[joined]

    def __len__(self) -> int:
        return len(self.phrasegrams)

    def __str__(self) -> str:
        return f"FrozenPhrases<{len(self)} phrases, min_count={self.min_count}, threshold={self.threshold}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"options": options_of(self), "phrasegrams": dict(self.phrasegrams), "workers": self.workers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(**state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file. An existing file is replaced only once the new one is complete."""
        write(path, _FROZEN_FORMAT, {"options": options_of(self), "phrasegrams": dict(self.phrasegrams)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FrozenPhrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is of another kind, or damaged.
        """
        frozen = cls.__new__(cls)
        try:
            saved = fields(read(path, _FROZEN_FORMAT), "the file", ("format", "options", "phrasegrams"))
            grams = fields(saved["phrasegrams"], "phrasegrams", (), saved["phrasegrams"])
            for phrase, score in grams.items():
                number(score, f"the score of {phrase!r}")
            frozen._set(checked_options(saved["options"]), grams, default_workers())
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a file of {_FROZEN_FORMAT!r}, or is damaged: {error}") from error
        return frozen


Phraser = FrozenPhrases
"""gensim's older name for it."""


def options_of(phrases: Phrases | FrozenPhrases) -> dict[str, Any]:
    """The options as JSON can hold them; a scoring function becomes its name."""
    options = {name: getattr(phrases, name) for name in ("min_count", "threshold", "delimiter")}
    scoring = getattr(phrases.scoring, "__name__", "function") if callable(phrases.scoring) else phrases.scoring
    return options | {"scoring": scoring, "connector_words": sorted(phrases.connector_words)}


def write(path: str | os.PathLike[str], form: str, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps({"format": form} | content, ensure_ascii=False).encode())


def read(path: str | os.PathLike[str], form: str) -> dict[str, Any]:
    with opened(path) as file:
        saved = parsed(file.read())
    if not isinstance(saved, dict) or saved.get("format") != form:
        raise ValueError("it has another format")
    return saved


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
