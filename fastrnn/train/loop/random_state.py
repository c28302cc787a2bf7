"""The states of the random generators of a training: read and restored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (data sets draw from the global generator)
    random.seed(seed)


def read(data: Any, device: torch.device) -> dict[str, Any]:
    """The states of the global generators and of those that a DataLoader or its sampler owns."""
    kind, keys, position, has_normal, normal = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_normal, normal),
        "python": random.getstate(),
        "data": [generator.get_state() for generator in _owned(data)],
    }


def write(state: dict[str, Any], data: Any, device: torch.device) -> None:
    """Restore the states that :func:`read` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    kind, keys, position, has_normal, normal = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_normal, normal))  # noqa: NPY002
    random.setstate(state["python"])
    for generator, saved in zip(_owned(data), state["data"], strict=False):
        generator.set_state(saved)


def _owned(data: Any) -> Iterator[torch.Generator]:
    seen: set[int] = set()
    batch_sampler = getattr(data, "batch_sampler", None)
    for owner in (data, getattr(data, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator) and id(generator) not in seen:
            seen.add(id(generator))
            yield generator
