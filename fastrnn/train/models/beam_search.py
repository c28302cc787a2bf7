"""Beam search: the most probable sequences that can be found by keeping the best few at every step.

It needs only two functions of a model, one that advances by a token and one that selects rows of the state, so language
models and all decoders share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

Advance = Callable[[Tensor, Any], tuple[Tensor, Any]]
Select = Callable[[Any, Tensor], Any]


class Hypothesis(NamedTuple):
    """A sequence that was found: its tokens without ``eos``.

    ``log_probability`` is that of all its tokens, with ``eos`` if it ``ended`` with one; hypotheses are ranked by
    ``score``.
    """

    tokens: list[int]
    log_probability: float
    score: float
    ended: bool


def beam_search(
    advance: Advance,
    select: Select,
    state: Any,
    first: Tensor,
    *,
    width: int,
    length: int,
    eos: int | None,
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Searches for B sequences at once.

    Args:
        advance: reads a token in each row: (tokens (N,) int64, state) to log-probabilities (N, V) of the next token and
            the new state.
        select: the state of some rows, (state, rows (N,) int64); rows may be repeated or missing.
        state: of B rows, before ``first`` is read.
        first: the token before each sequence, (B,) int64: ``bos``, or the last one of a prompt.
        width: hypotheses kept at each step.
        length: maximum number of tokens of a sequence, ``eos`` included.
        eos: the token that ends a sequence; None gives all sequences ``length`` tokens.
        length_penalty: the score is log-probability / tokens ** length_penalty. 0 is the log-probability, which
            prefers short sequences; 1 is its mean.

    Returns:
        for each sequence at most ``width`` hypotheses: first those that ended, and among these the best score first.

    Raises:
        ValueError: an argument is out of range.
    """
    if width < 1 or length < 1 or length_penalty < 0:
        raise ValueError(
            "Expected width and length of at least 1 and length_penalty of at least 0, got "
            f"width={width}, length={length}, length_penalty={length_penalty}"
        )
    batch = first.numel()
    beams = [_Beam(width, length, eos, length_penalty) for _ in range(batch)]
    rows = torch.arange(batch).repeat_interleave(width)
    state, tokens = select(state, rows), first.cpu()[rows]
    for step in range(1, length + 1):
        found, state = advance(tokens, state)
        totals = torch.tensor([beam.sums for beam in beams], dtype=torch.float64).view(-1, 1) + found.cpu().double()
        vocabulary = totals.size(1)
        # Each row has one candidate that ends, so twice the width leaves enough that continue.
        candidates = totals.view(batch, -1).topk(min(2 * width, width * vocabulary))
        for beam, sums, places in zip(beams, candidates.values.tolist(), candidates.indices.tolist(), strict=True):
            beam.extend(step, sums, [divmod(place, vocabulary) for place in places])
        if all(beam.done(step) for beam in beams):
            break
        state = select(state, torch.tensor([i * width + row for i, beam in enumerate(beams) for row in beam.parents]))
        tokens = torch.tensor([sequence[-1] for beam in beams for sequence in beam.sequences])
    return [beam.result() for beam in beams]


class _Beam:
    """The hypotheses of one sequence: ``width`` that continue, and those that ended."""

    def __init__(self, width: int, length: int, eos: int | None, length_penalty: float) -> None:
        self.width, self.length, self.eos, self.length_penalty = width, length, eos, length_penalty
        self.sums = [0.0] + [-torch.inf] * (width - 1)  # at first all rows are equal, and one of them counts
        self.sequences: list[list[int]] = [[] for _ in range(width)]
        self.parents = list(range(width))
        self.ended: list[Hypothesis] = []

    def extend(self, step: int, sums: list[float], candidates: list[tuple[int, int]]) -> None:
        """Takes the best candidates (row, token) of this step, best first."""
        kept: list[tuple[float, int, list[int]]] = []
        for total, (row, token) in zip(sums, candidates, strict=True):
            if total == -torch.inf:
                break
            if token == self.eos:
                self.ended.append(Hypothesis(self.sequences[row], total, self._score(total, step), True))
            elif len(kept) < self.width:
                kept.append((total, row, [*self.sequences[row], token]))
        while len(kept) < self.width:  # fewer tokens than the width: fill up with rows that cannot win
            kept.append((-torch.inf, 0, [*self.sequences[0], candidates[0][1]]))
        self.sums, self.parents, self.sequences = map(list, zip(*kept, strict=True))
        self.ended = sorted(self.ended, key=lambda found: -found.score)[: self.width]

    def done(self, step: int) -> bool:
        """Whether no continuing hypothesis can still be among the best, since log-probabilities only fall."""
        if len(self.ended) < self.width:
            return max(self.sums) == -torch.inf
        return self._score(max(self.sums), self.length) <= self.ended[-1].score

    def result(self) -> list[Hypothesis]:
        going_on = [
            Hypothesis(sequence, total, self._score(total, len(sequence)), False)
            for total, sequence in zip(self.sums, self.sequences, strict=True)
            if total > -torch.inf
        ]
        going_on.sort(key=lambda found: -found.score)
        return [*self.ended, *going_on][: self.width]

    def _score(self, total: float, tokens: int) -> float:
        return total / tokens**self.length_penalty
