"""Frozen phrases: the phrases that were found, without the counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus.arguments import default_workers
from fastrnn.word2vec.files.json_fields import fields, number
from fastrnn.word2vec.phrases.joining import Joining
from fastrnn.word2vec.phrases.saved import checked_options, options_of, reading, write

if TYPE_CHECKING:
    from fastrnn.word2vec.phrases.detection import Phrases

_FORMAT = "fastrnn frozen phrases 1"


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
        write(path, _FORMAT, {"options": options_of(self), "phrasegrams": dict(self.phrasegrams)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FrozenPhrases:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the file is of another kind, or damaged.
        """
        frozen = cls.__new__(cls)
        with reading(path, _FORMAT, ("options", "phrasegrams")) as saved:
            grams = fields(saved["phrasegrams"], "phrasegrams", (), saved["phrasegrams"])
            for phrase, score in grams.items():
                number(score, f"the score of {phrase!r}")
            frozen._set(checked_options(saved["options"]), grams, default_workers())
        return frozen


Phraser = FrozenPhrases
"""gensim's older name for it."""
