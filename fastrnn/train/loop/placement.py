"""Moves batches to a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the CPU for a model without parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on a device. Fields named ``lengths`` or ``..._lengths`` stay on the CPU, as packing
    needs them there."""
    if device.type == "cpu":
        return batch
    if hasattr(batch, "_fields"):  # a NamedTuple
        fields = zip(batch._fields, batch, strict=True)
        return type(batch)(*(value if name.endswith("lengths") else to_device(value, device) for name, value in fields))
    if isinstance(batch, dict):
        return {
            name: value if str(name).endswith("lengths") else to_device(value, device) for name, value in batch.items()
        }
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested tuples and lists with ``change`` applied to every tensor; other values do not change."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        parts = [mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
