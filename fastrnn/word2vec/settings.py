"""The settings of a Word2Vec model: gensim 4's names and defaults."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

# Words between two merges of a DistributedWord2Vec. Skip-gram, enwiki8, one epoch, two ranks of one worker on one
# machine: 11.1 % of the analogies at 1.71 M words/s; 200,000: 12.0 % at 1.23. One process of two workers: 13.5 % at
# 3.53 (docs/adr/0010-several-machines.md).
SYNC_WORDS = 400_000


@dataclass(frozen=True)
class Settings:
    """What a model is asked to learn, and how.

    Raises:
        ValueError: a value out of its range.
    """

    vector_size: int = 100  #: numbers in a vector
    alpha: float = 0.025  #: the learning rate at the beginning
    min_alpha: float = 0.0001  #: and at the end
    window: int = 5  #: how far the context reaches to either side
    min_count: int = 5  #: rarer words are left out
    max_vocab_size: int | None = None  #: bounds the memory of counting
    max_final_vocab: int | None = None  #: bounds the vocabulary
    sample: float = 1e-3  #: words more frequent than this are left out at times; 0: none is
    seed: int = 1
    sg: int = 0  #: 1: skip-gram, 0: CBOW
    hs: int = 0  #: 1: hierarchical softmax
    negative: int = 5  #: words drawn to be told from the right one; 0: no negative sampling
    ns_exponent: float = 0.75  #: they are drawn in proportion to count ** ns_exponent
    cbow_mean: int = 1  #: 1: CBOW takes the mean of the context, 0: the sum
    shrink_windows: bool = True  #: the reach of every window is drawn from 1 to ``window``
    epochs: int = 5

    def __post_init__(self) -> None:
        for name in ("vector_size", "window", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("min_count", "negative", "sample", "alpha", "min_alpha"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more and finite, got {getattr(self, name)}")
        for name in ("sg", "hs", "cbow_mean"):
            if getattr(self, name) not in (0, 1):
                raise ValueError(f"{name} must be 0 or 1, got {getattr(self, name)}")
        if not math.isfinite(self.ns_exponent):
            raise ValueError(f"ns_exponent must be finite, got {self.ns_exponent}")

    def check_outputs(self) -> None:
        """Raise ValueError where there is neither negative sampling nor hierarchical softmax."""
        if self.negative == 0 and self.hs == 0:
            raise ValueError("negative=0 and hs=0 would train nothing; set negative to 5, say, or hs to 1")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
