"""Nested dictionaries, lists, tuples, numbers and tensors as JSON and a flat table of tensors, and back.

JSON has no tuples, no tensors and only strings as keys. These three become an object with one marked key.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

TENSOR, TUPLE, ITEMS = "@tensor", "@tuple", "@items"


def pack(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """The JSON of a value; its tensors are added to ``tensors`` under names that are their paths."""
    if isinstance(value, Tensor):
        if name in tensors:
            raise ValueError(f"two tensors have the same name {name!r}")
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, dict):
        pairs = [(key, pack(part, tensors, f"{name}.{key}" if name else str(key))) for key, part in value.items()]
        if all(isinstance(key, str) and not key.startswith("@") for key in value):
            return dict(pairs)
        return {ITEMS: [[pack(key, {}), part] for key, part in pairs]}
    if isinstance(value, list | tuple):
        parts = [pack(part, tensors, f"{name}.{index}") for index, part in enumerate(value)]
        return {TUPLE: parts} if isinstance(value, tuple) else parts
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{name or 'a value'} cannot be saved: it is a {type(value).__name__}")


def unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of :func:`pack`."""
    if isinstance(value, list):
        return [unpack(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return tensors[value[TENSOR]]
    if TUPLE in value:
        return tuple(unpack(part, tensors) for part in value[TUPLE])
    if ITEMS in value:
        return {unpack(key, tensors): unpack(part, tensors) for key, part in value[ITEMS]}
    return {key: unpack(part, tensors) for key, part in value.items()}


def owned(value: Any) -> Any:
    """A copy whose tensors are on the CPU, detached and independent."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: owned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(owned(part) for part in value)
    return value


def moved(value: Any, device: torch.device) -> Any:
    """The same tree with its tensors on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(moved(part, device) for part in value)
    return value
