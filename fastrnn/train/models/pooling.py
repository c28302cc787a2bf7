"""Pools a sequence into one vector, and finds the padding of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

POOLINGS = ("last", "mean", "max")


def beyond(steps: int, lengths: Tensor, device: torch.device) -> Tensor:
    """Which steps (T, B) of sequences of these lengths are padding, bool."""
    return (torch.arange(steps).unsqueeze(1) >= lengths.cpu()).to(device)


def pooled(
    pooling: str, output: Tensor, state: Tensor | tuple[Tensor, Tensor], lengths: Tensor | None, bidirectional: bool
) -> Tensor:
    """The vector (B, D H) of each sequence.

    Args:
        pooling: "last": the final states of the last layer, of all directions; "mean" or "max" over the outputs.
        output, state: of recurrent layers, (T, B, D H) and as torch's.
        lengths: (B,), or None without padding.
    """
    if pooling == "last":
        h = state[0] if isinstance(state, tuple) else state
        return torch.cat([h[-2], h[-1]], dim=1) if bidirectional else h[-1]
    if lengths is None:
        return output.mean(0) if pooling == "mean" else output.amax(0)
    padding = beyond(len(output), lengths, output.device).unsqueeze(2)
    if pooling == "max":
        return output.masked_fill(padding, float("-inf")).amax(0)
    return output.masked_fill(padding, 0).sum(0) / lengths.to(output).unsqueeze(1)
