"""The settings of Phrases: gensim 4's names and defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from fastrnn.word2vec import _C
from fastrnn.word2vec.phrases.scoring import Scoring, check_scoring
from fastrnn.word2vec.settings import whole


@dataclass(frozen=True)
class PhraseSettings:
    """What counts as a phrase; see :class:`fastrnn.word2vec.Phrases`.

    Raises:
        ValueError: a value is out of range.
    """

    min_count: float = 5
    threshold: float = 10.0
    max_vocab_size: int = 40_000_000
    delimiter: str = "_"
    scoring: str | Scoring = "default"
    connector_words: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "connector_words", frozenset(self.connector_words))
        check_scoring(self.scoring)
        if not 1 <= self.min_count < math.inf:
            raise ValueError(f"min_count must be 1 or more, got {self.min_count}")
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be finite, got {self.threshold}")
        if self.scoring == "default" and self.threshold <= 0:
            raise ValueError(f"threshold must be positive, got {self.threshold}")
        if self.scoring == "npmi" and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between -1 and 1 for npmi, got {self.threshold}")
        if not self.delimiter:
            raise ValueError("delimiter must not be empty")
        whole("max_vocab_size", self.max_vocab_size, 1, 2**63 - 1)

    def for_counting(self) -> _C.PhraseOptions:
        """The same settings for C++."""
        npmi, connectors = self.scoring == "npmi", sorted(self.connector_words)
        return _C.PhraseOptions(self.min_count, self.threshold, self.max_vocab_size, self.delimiter, npmi, connectors)


NAMES = frozenset(field.name for field in fields(PhraseSettings))
