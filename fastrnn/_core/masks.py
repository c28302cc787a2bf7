"""Random masks from torch's generator: which numbers dropout keeps.

torch draws a Bernoulli number at a time, on one thread: 50 ms for the recurrent matrix of an LSTM of 1150 units. Here a
random integer of 64 bits decides about four numbers, by 16 bits each: 4 ms. So a probability is a multiple of 2^-16,
and what is kept is divided by exactly its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_STEPS = 1 << 16
_BITS = torch.iinfo(torch.int64)


def kept(sizes: Sequence[int], p: float, device: torch.device) -> Tensor:
    """A mask of these sizes, bool, each element False with probability p, to a multiple of 2^-16."""
    count, zeroed = math.prod(sizes), _zeroed(p)
    if zeroed in (0, _STEPS):
        return torch.full(tuple(sizes), zeroed == 0, device=device)
    # Two or more: a graph whose example needs one would be for that number alone.
    bits = torch.randint(_BITS.min, _BITS.max, (torch.sym_max(2, (count + 3) // 4),), device=device)
    least = zeroed - _STEPS // 2  # of what is kept, among numbers of 16 bits with a sign
    if torch._C._are_functorch_transforms_active():
        # torch 2.11 has no rule of vmap for views of another dtype. The same bits, each four moved to the upper end:
        # what is below them makes no number that is kept smaller than `least`, and none that is not as large.
        return (torch.stack([bits << up for up in (48, 32, 16, 0)], -1).flatten()[:count] >= least << 48).view(*sizes)
    return (bits.view(torch.int16)[:count] >= least).view(*sizes)


def scale(p: float) -> float:
    """What is kept is multiplied by this, so that the mean stays: 1 / (1 - p); 0 where nothing is kept."""
    zeroed = _zeroed(p)
    return _STEPS / (_STEPS - zeroed) if zeroed < _STEPS else 0.0


def drop(t: Tensor, p: float, mask: Tensor | None = None) -> Tensor:
    """Dropout: elements of ``t`` are zero with probability p, the others multiplied by :func:`scale`.

    Args:
        mask: from :func:`kept` with the same p, of sizes that broadcast to those of ``t``; drawn here by default.

    Raises:
        ValueError: p is not in [0, 1].
    """
    mask = kept(t.shape, p, t.device) if mask is None else mask
    return t * mask.to(t.dtype) * scale(p)  # torch.where takes ten times as long


def _zeroed(p: float) -> int:
    if not 0 <= p <= 1:
        raise ValueError(f"Expected a probability of dropout in [0, 1], got {p}")
    return round(p * _STEPS)
