"""The settings of a Word2Vec model: gensim 4's names and defaults."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from typing import Any

from fastrnn.word2vec import _C

# Words between two merges of a DistributedWord2Vec. Skip-gram, enwiki8, one epoch, two ranks with one worker each, one
# machine: 11.1 % of analogies correct at 1.71 M words/s; with 200,000 words 12.0 % at 1.23 M. One process with two
# workers: 13.5 % at 3.53 M (docs/adr/0010-several-machines.md).
SYNC_WORDS = 400_000

# The range of each integer setting. A window may be longer than any sentence.
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
# The range of each real setting. Beyond an exponent of 10 a power of a count may overflow.
REAL = {"alpha": (0, math.inf), "min_alpha": (0, math.inf), "sample": (0, math.inf), "ns_exponent": (-10, 10)}


def whole(name: str, value: Any, least: int, most: int) -> int:
    """The value as an int.

    Raises:
        TypeError: it is not an integer, for example 5.0 or "5".
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
        TypeError: it is not a number.
        ValueError: it is NaN or infinite, less than ``lowest`` or more than ``highest``.
    """
    allowed = f"finite and at least {lowest}" if math.isinf(highest) else f"from {lowest} to {highest}"
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, {allowed}, got {value!r}")
    number = float(value)
    if not (math.isfinite(number) and lowest <= number <= highest):
        raise ValueError(f"{name} must be {allowed}, got {value}")
    return number


@dataclass(frozen=True)
class Settings:
    """The settings of a model, with gensim 4's names and defaults.

    Raises:
        ValueError: a value is out of range.
        TypeError: a value is not a number.
    """

    vector_size: int = 100  #: dimension of the vectors
    alpha: float = 0.025  #: learning rate at the beginning
    min_alpha: float = 0.0001  #: learning rate at the end
    window: int = 5  #: context words on either side, within the sentence
    min_count: int = 5  #: ignore rarer words; 0 or 1 keeps all
    max_vocab_size: int | None = None  #: limits the memory of counting
    max_final_vocab: int | None = None  #: limits the vocabulary
    sample: float = 1e-3  #: randomly skip words more frequent than this; 0 skips none
    seed: int = 1
    sg: int = 0  #: 1: skip-gram, 0: CBOW
    hs: int = 0  #: 1: hierarchical softmax
    negative: int = 5  #: negative samples per pair; 0: no negative sampling
    ns_exponent: float = 0.75  #: negatives are drawn in proportion to count ** ns_exponent
    cbow_mean: int = 1  #: 1: CBOW takes the mean of the context, 0: the sum
    shrink_windows: bool = True  #: draw the reach of each window from 1 to ``window``
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
        """Raise ValueError if there is neither negative sampling nor hierarchical softmax."""
        if self.negative == 0 and self.hs == 0:
            raise ValueError("negative=0 and hs=0 would train nothing; use, for example, negative=5 or hs=1")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
