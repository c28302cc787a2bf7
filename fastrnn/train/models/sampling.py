"""Samples the next token: temperature, top-k, nucleus."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(
    log_probabilities: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples one token for each row: log-probabilities (B, V) to tokens (B,) int64, on the CPU.

    Args:
        temperature: divides the log-probabilities: below 1 it favours probable tokens; 0 takes the most probable one.
        top_k: sample only from the k most probable tokens.
        top_p: sample only from the nucleus: the smallest set of most probable tokens that together have this
            probability (Holtzman et al., 2020), after temperature and ``top_k``.
        generator: of the CPU; by default torch's.

    Raises:
        ValueError: an argument is out of range, or a row has no finite maximum.
    """
    check(temperature, top_k, top_p)
    scores = log_probabilities.detach().to("cpu", torch.float64)
    if not scores.amax(1).isfinite().all():
        raise ValueError("the model returned NaN or infinite log-probabilities")
    if temperature == 0:
        return scores.argmax(1)
    number = scores.size(1) if top_k is None else min(top_k, scores.size(1))
    if top_p is None and number == scores.size(1):
        return _drawn((scores / temperature).softmax(1), generator).squeeze(1)
    best, tokens = scores.topk(number)  # most probable first
    probabilities = (best / temperature).softmax(1)
    if top_p is not None:
        before = probabilities.cumsum(1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)  # never the first, since nothing is before it
    return tokens.gather(1, _drawn(probabilities, generator)).squeeze(1)


def _drawn(weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """A column of each row (B, N), drawn by weight: (B, 1). torch.multinomial would take N random numbers per row."""
    sums = weights.cumsum(1)
    place = torch.rand(len(weights), 1, dtype=weights.dtype, generator=generator) * sums[:, -1:]
    return torch.searchsorted(sums, place, right=True).clamp(
        max=weights.size(1) - 1
    )  # right=True, so that nothing of weight 0 is drawn


def check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raises ValueError if an argument of :func:`sample` is out of range."""
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"Expected temperature to be at least 0 and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"Expected top_k to be at least 1, or None for all tokens, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"Expected top_p to be a probability in (0, 1], or None, got {top_p}")
