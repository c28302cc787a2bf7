"""Batches for language models: one long text, cut into rows that are read in parallel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastrnn.train.data import order
from fastrnn.train.data.batch import Window

# From AWD-LSTM (Merity et al., 2018, section 5): one window in twenty has half the steps, and none has fewer than five.
HALVED = 0.05
FEWEST_STEPS = 5


class LanguageBatches:
    """A text as windows of ``steps`` tokens and their next tokens; each window continues the previous one.

    The N tokens are cut into ``batch`` parallel rows of L = (N - 1) // batch tokens; the last token of a row is
    followed by the first of the next. So L * batch tokens are predicted: all but the first and, at the end, fewer than
    ``batch`` tokens that do not fill the rows, ``left_over``. The last window of an epoch may be shorter; it is not
    dropped. To predict every token, as an evaluation should, use ``batch=1``.

    Args:
        tokens: (N,) integers: a list, tensor or array; also a memory-mapped one (:func:`encode_file`), of which
            only one batch is in memory.
        batch: rows, B.
        steps: tokens of a row in a window, T.
        jitter: standard deviation of the window length around ``steps``, as in AWD-LSTM (5 there): each epoch cuts the
            rows at other places, sometimes at half of ``steps``. The number of windows is the same in each epoch.
        seed: of the jitter. The windows of an epoch depend on the seed and its number.

    Raises:
        ValueError: there are fewer than batch + 1 tokens.
        TypeError: the tokens are not integers in one dimension.
    """

    def __init__(
        self, tokens: Sequence[int] | Any, batch: int, steps: int, *, jitter: float = 0.0, seed: int = 0
    ) -> None:
        if batch < 1 or steps < 1 or jitter < 0:
            raise ValueError(
                f"batch and steps must be at least 1 and jitter at least 0, got {batch}, {steps} and {jitter}"
            )
        self.tokens = _integers(tokens)
        self.batch, self.steps, self.jitter, self.seed = batch, steps, jitter, seed
        self.length = (len(self.tokens) - 1) // batch
        self.left_over = len(self.tokens) - 1 - self.length * batch
        if self.length < 1:
            raise ValueError(
                f"a batch of {batch} rows needs at least {batch + 1} tokens, got {len(self.tokens)}; "
                "use a smaller batch or more text"
            )

    def __len__(self) -> int:
        mean = self.steps * (1 - HALVED / 2) if self.jitter else self.steps
        return min(self.length, math.ceil(self.length / mean))

    def epoch(self, number: int) -> Iterator[Window]:
        """The windows of an epoch; input and target are (T, B) int64."""
        starts = np.arange(self.batch) * self.length
        cuts = self._cuts(number)
        for begin, end in itertools.pairwise(cuts):
            rows = np.stack([self.tokens[start + begin : start + end + 1] for start in starts], axis=1)
            both = torch.from_numpy(rows.astype(np.int64, copy=False))
            yield Window(both[:-1], both[1:], first=begin == 0)

    def __iter__(self) -> Iterator[Window]:
        return self.epoch(0)

    def _cuts(self, number: int) -> list[int]:
        """The boundaries of the windows of an epoch, from 0 to L."""
        if not self.jitter:
            return [*range(0, self.length, self.steps), self.length]
        random = order.generator(self.seed, number)
        mean = np.where(random.random(len(self)) < HALVED, self.steps / 2, self.steps)
        drawn = np.maximum(random.normal(mean, self.jitter), FEWEST_STEPS)
        # Scaled so that the windows fill the rows; in a long text by about one per cent.
        cuts = np.rint(np.cumsum(drawn) * (self.length / drawn.sum())).astype(np.int64)
        # Rounding must not make a window empty.
        first = np.arange(1, len(self) + 1)
        cuts = np.maximum.accumulate(np.maximum(cuts, first) - first) + first
        return [0, *np.minimum(cuts, first + self.length - len(self)).tolist()]


def _integers(tokens: Any) -> np.ndarray:
    if isinstance(tokens, torch.Tensor):
        tokens = tokens.detach().cpu().numpy()
    array = np.asanyarray(tokens)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(
            f"tokens must be integers in one dimension, got {array.dtype} of shape {array.shape}; "
            "Vocabulary.encode makes them from a text"
        )
    return array
