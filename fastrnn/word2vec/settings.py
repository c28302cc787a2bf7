"""The settings of a Word2Vec model: gensim 4's names and defaults."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from typing import Any

from fastrnn.word2vec import _C

# Words between two merges of a DistributedWord2Vec. Skip-gram, enwiki8, one epoch, two ranks of one worker on one
# machine: 11.1 % of the analogies at 1.71 M words/s; 200,000: 12.0 % at 1.23. One process of two workers: 13.5 % at
# 3.53 (docs/adr/0010-several-machines.md).
SYNC_WORDS = 400_000

# The least and the most of each whole number. A window may be longer than any sentence.
WHOLE = {
    "vector_size": (1, 1 << 20),
    "window": (1, 2**31 - 1),
    "min_count": (0, 2**63 - 1),
    "max_vocab_size": (1, 2**63 - 1),
    "max_final_vocab": (1, 2**63 - 1),
    "negative": (0, _C.MOST_NEGATIVES),
    "epochs": (1, 1_000_000),
}
OPTIONAL = ("max_vocab_size", "max_final_vocab")
# The least and the most of each real number. Beyond 10 a power of a count may be no float.
REAL = {"alpha": (0, math.inf), "min_alpha": (0, math.inf), "sample": (0, math.inf), "ns_exponent": (-10, 10)}


def whole(name: str, value: Any, least: int, most: int) -> int:
    """The value as an int.

    Raises:
        TypeError: it is no whole number, such as 5.0 or "5".
        ValueError: it is less than ``least`` or more than ``most``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number from {least} to {most}, got {value!r}") from None
    if not least <= number <= most:
        raise ValueError(f"{name} must be from {least} to {most}, got {value}")
    return number


def real(name: str, value: Any, lowest: float, highest: float) -> float:
    """The value as a finite float.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN or infinite, less than ``lowest`` or more than ``highest``.
    """
    allowed = f"{lowest} or more, and finite" if math.isinf(highest) else f"from {lowest} to {highest}"
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, {allowed}; got {value!r}")
    number = float(value)
    if not (math.isfinite(number) and lowest <= number <= highest):
        raise ValueError(f"{name} must be {allowed}; got {value}")
    return number


@dataclass(frozen=True)
class Settings:
    """What a model is asked to learn, and how.

    Raises:
        ValueError: a value is out of its range.
        TypeError: a value is no number.
    """

    vector_size: int = 100  #: numbers in a vector
    alpha: float = 0.025  #: the learning rate at the beginning
    min_alpha: float = 0.0001  #: and at the end
    window: int = 5  #: how far the context reaches to either side, at most to the ends of the sentence
    min_count: int = 5  #: rarer words are left out; 0 and 1: none is
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
        for name, (least, most) in WHOLE.items():
            value = getattr(self, name)
            if value is not None or name not in OPTIONAL:
                object.__setattr__(self, name, whole(name, value, least, most))
        for name, (lowest, highest) in REAL.items():
            object.__setattr__(self, name, real(name, getattr(self, name), lowest, highest))
        for name in ("sg", "hs", "cbow_mean", "shrink_windows"):
            if getattr(self, name) not in (0, 1):
                raise ValueError(f"{name} must be 0 or 1, got {getattr(self, name)!r}")
            object.__setattr__(self, name, type(getattr(Settings, name))(getattr(self, name)))
        object.__setattr__(self, "seed", operator.index(self.seed))

    def check_outputs(self) -> None:
        """Raise ValueError where there is neither negative sampling nor hierarchical softmax."""
        if self.negative == 0 and self.hs == 0:
            raise ValueError("negative=0 and hs=0 would train nothing; set negative to 5, say, or hs to 1")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
