"""Nested (jagged) tensors, (B, ragged, features), as padded ones with lengths, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Padded(NamedTuple):
    """The rows of a nested tensor, padded with zeros."""

    data: Tensor  # (B, T, features)
    lengths: Tensor  # (B,)
    places: Tensor  # of each row of values among the B T of the data

    @classmethod
    def of(cls, nested: Any) -> Padded:
        """The padded form of a nested tensor. Differentiable.

        Raises:
            ValueError: it is not of layout torch.jagged, or not of three dimensions with the second one ragged.
        """
        if nested.layout is not torch.jagged:
            raise ValueError(
                f"Expected a nested tensor of layout torch.jagged, got {nested.layout}; make it with "
                "torch.nested.nested_tensor(sequences, layout=torch.jagged)"
            )
        if nested.dim() != 3 or nested._ragged_idx != 1:
            raise ValueError(
                "Expected a nested tensor of sequences (steps, features), so of 3 dimensions with the second one "
                f"ragged, got {nested.dim()} dimensions, ragged in dimension {nested._ragged_idx}"
            )
        nested = nested.contiguous()
        offsets, values = nested.offsets(), nested.values()
        lengths = offsets.diff()
        batch, steps = lengths.numel(), max(1, nested._get_max_seqlen()) if lengths.numel() else 1
        first = torch.repeat_interleave(
            torch.arange(batch, device=values.device) * steps - offsets[:-1], lengths, output_size=values.size(0)
        )
        places = first + torch.arange(values.size(0), device=values.device)
        data = values.new_zeros(batch * steps, values.size(1)).index_copy(0, places, values)
        return cls(data.unflatten(0, (batch, steps)), lengths, places)

    def as_nested(self, output: Tensor, like: Any) -> Tensor:
        """A tensor (B, T, features) as a nested one, of the very raggedness of ``like``."""
        values = output.flatten(0, 1).index_select(0, self.places)
        return torch.nested.nested_tensor_from_jagged(values, like.contiguous().offsets())
