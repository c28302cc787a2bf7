"""What the tests of streams share."""

from typing import Any

import torch
from torch import Tensor


def steps(stream: Any, x: Tensor) -> Tensor:
    """The outputs of a stream over a sequence (T, B, I)."""
    return torch.stack([stream(step) for step in x])


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the last bit."""
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else ((a, b),)
    return all(torch.equal(one, other) for one, other in pairs)
