"""What a loss function returns to the training loop."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Step(NamedTuple):
    """One batch's loss.

    Attributes:
        loss: the mean over the items of the batch, a scalar with a graph.
        items: the number of items in the mean: tokens, sequences, frames. Batches and processes are weighted by it.
        state: what a stateful loop carries into the next batch: a tensor, tuples of tensors, or None.
    """

    loss: Tensor
    items: int
    state: Any = None
