"""Checkpoints: the state of a training between two steps as one file.

The file is safetensors, with everything that is not a tensor as JSON in its metadata, so reading it runs no code. It is
replaced atomically: a kill or a full disk leaves the previous one unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.train.loop.evaluation import length
from fastrnn.train.saving.model_file import contents, differing, safetensors, store, without_twins
from fastrnn.train.saving.tree import pack, unpack

KIND = "fastrnn.train checkpoint 1"
MAY_DIFFER = ("epochs", "patience", "monitor")  # settings that a resumed training may change


def save(file: Path, state: dict[str, Any]) -> None:
    """Write a state: dictionaries, lists, tuples, tensors and JSON values.

    Raises:
        OSError: the file could not be written; the previous one is unchanged.
    """
    tensors: dict[str, Tensor] = {}
    packed = pack(state, tensors)
    unique, twins = without_twins(tensors)
    about = {"kind": KIND, "state": json.dumps(packed), "tied": json.dumps(twins)}
    data = safetensors().torch.save({name: tensor.detach().contiguous() for name, tensor in unique.items()}, about)
    store(file, data)


def load(file: Path) -> dict[str, Any]:
    """The state in a file.

    Raises:
        ValueError: the file is damaged, truncated, or not a checkpoint.
    """
    tensors, about = contents(file, KIND)
    try:
        state: dict[str, Any] = unpack(json.loads(about["state"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: {error!r}") from error
    return state


def check(file: Path, state: dict[str, Any], model: nn.Module, settings: dict[str, Any], data: dict[str, Any]) -> None:
    """Raise ValueError if a state belongs to another model, other settings or other data, and name the differences."""
    if differences := differing(model, state["run"]["model"]):
        raise ValueError(
            f"{file} is a checkpoint of a different model than this {type(model).__name__}: {'; '.join(differences)}"
        )
    for what, saved, now in (("settings", state["settings"], settings), ("data", state["data"], data)):
        changed = [
            f"{name} was {saved.get(name)!r} and is {now.get(name)!r}"
            for name in sorted({*saved, *now})
            if name not in MAY_DIFFER and saved.get(name) != now.get(name)
        ]
        if changed:
            raise ValueError(
                f"{file} was trained with different {what}: {'; '.join(changed)}. "
                "Resume with the same, or start a new training in another folder"
            )


def fingerprint(data: Any) -> dict[str, Any]:
    """Identifies data: the number of batches, and a digest of the first if it can be read more than once."""
    if hasattr(data, "epoch"):
        first = next(iter(data.epoch(0)), None)
    else:
        first = data[0] if isinstance(data, Sequence) and data else None
    digest = hashlib.sha256()
    _feed(digest, first)
    return {"batches": length(data), "first batch": digest.hexdigest()[:16]}


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        _feed(digest, list(value.items()))
    elif isinstance(value, list | tuple):
        for part in value:
            _feed(digest, part)
    elif isinstance(value, bool | int | float | str):
        digest.update(repr(value).encode())
