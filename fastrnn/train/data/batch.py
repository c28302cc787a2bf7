"""The batches that models take. Time comes first; T and U are steps, B sequences, F features.

Lengths are int64 on the CPU, in any order; sorting is not needed. Padding beyond a sequence's length is never read.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Window(NamedTuple):
    """A window of B long texts read in parallel: input and target (T, B) int64, the target one token later.

    ``first``: these rows do not continue those of the previous batch.
    """

    input: Tensor
    target: Tensor
    first: bool


class Labelled(NamedTuple):
    """Sequences (T, B) int64 or (T, B, F), each with one answer: (B,) int64, or (B, F) numbers."""

    input: Tensor
    lengths: Tensor | None
    target: Tensor


class Tagged(NamedTuple):
    """Sequences (T, B) int64 or (T, B, F) with an answer at each step: (T, B) int64, -100 for none, or (T, B, F)."""

    input: Tensor
    lengths: Tensor | None
    target: Tensor


class Pairs(NamedTuple):
    """Sequences (T, B) and their targets (U, B), from <bos> to <eos>. All int64."""

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    target_lengths: Tensor


class Captioned(NamedTuple):
    """Pictures (B, C, H, W) or vectors (B, F), and their captions (U, B) int64, from <bos> to <eos>."""

    input: Tensor
    target: Tensor
    target_lengths: Tensor
