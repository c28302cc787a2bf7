"""Sequences of different lengths in one tensor, time first: (T, B) ids and lengths (B,)."""

from __future__ import annotations

import torch
from torch import Tensor


def beyond(lengths: Tensor, steps: int) -> Tensor:
    """(T, B) bool: true after the end of each sequence."""
    return torch.arange(steps, device=lengths.device).unsqueeze(1) >= lengths


def reversed_in_time(ids: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence (T, B) in reverse; padding stays in place."""
    step = torch.arange(ids.size(0), device=ids.device).unsqueeze(1)
    return ids.gather(0, torch.where(step < lengths, lengths - 1 - step, step))
