"""What a model tells the training loop about one batch."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Step(NamedTuple):
    """One batch's loss.

    Attributes:
        loss: the mean over the items of the batch, a scalar to go backward from.
        items: how many the mean is over: tokens, sequences, frames. Batches and processes are weighted by it.
        state: what a stateful loop carries into the next batch, or None: a tensor, or tuples of tensors.
    """

    loss: Tensor
    items: int
    state: Any = None
