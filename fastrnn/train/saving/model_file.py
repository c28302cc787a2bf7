"""A trained model as one safetensors file: tensors, and as JSON in its metadata the class and its arguments.

Loading runs no code from the file: it names a class of ``fastrnn.train.models``, which ``from_config`` creates.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fastrnn._saving import replacing
from fastrnn.train import models
from fastrnn.train._names import unknown

KIND = "fastrnn.train model 1"
MODEL = "model.safetensors"


def save(model: Any, file: str | PathLike[str]) -> None:
    """Write a model to a file, which is replaced once the new one is complete.

    Args:
        model: a module with ``config()``, or a model with ``tensors()`` and ``config()``. A module without ``config()``
            is written too, but :func:`load` then needs ``into=``.
    """
    write(file, tensors_of(model), model)


def contents(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file of this kind; shared tensors are shared again."""
    tensors, about = read(path)
    if about.get("kind") != kind:
        raise ValueError(
            f"{path} is not a {kind} file but {about.get('kind', 'a safetensors file of another program')}"
        )
    return tensors | {name: tensors[twin] for name, twin in json.loads(about["tied"]).items()}, about


def safetensors() -> Any:
    """The package that reads and writes the files. It is in an extra, since training without a folder does not need it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError("saving and loading need safetensors. Type: pip install 'fastrnn[train]'") from error
    return safetensors


def tensors_of(model: Any) -> dict[str, Tensor]:
    return dict(model.state_dict() if isinstance(model, nn.Module) else model.tensors())


def write(file: str | PathLike[str], tensors: dict[str, Tensor], model: Any) -> None:
    """Write these tensors as a model's. Shared tensors (tied weights) are written once."""
    unique, tied = without_twins(tensors)
    config = model.config() if callable(getattr(model, "config", None)) else None
    about = {"kind": KIND, "model": type(model).__name__, "config": json.dumps(config), "tied": json.dumps(tied)}
    data = safetensors().torch.save({name: tensor.detach().contiguous() for name, tensor in unique.items()}, about)
    store(Path(file), data)


def store(file: Path, data: bytes) -> None:
    """Replace a file atomically.

    Raises:
        OSError: it could not be written, for instance because the disk is full; the error says what is there now.
    """
    try:
        with replacing(file) as out:
            out.write(data)
    except OSError as error:
        now = "the previous one is unchanged" if file.exists() else "there was no previous one"
        raise OSError(error.errno, f"{error.strerror}: the file was not written; {now}", str(file)) from error


def load(file: str | PathLike[str], *, into: Any = None) -> Any:
    """Load a model in eval mode from a file that :func:`save` wrote, or from the folder of a run.

    Args:
        file: the file, or a folder with a ``model.safetensors``.
        into: a module to load the tensors into; needed if its class is not one of ``fastrnn.train.models``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not the file of a model, is damaged, or belongs to a different model than ``into``.
    """
    path = Path(file)
    if path.is_dir():
        if not (path / MODEL).exists():
            raise FileNotFoundError(
                f"{path} has no {MODEL}: no epoch has finished there, or it is not the folder of a run"
            )
        path = path / MODEL
    tensors, about = contents(path, KIND)
    if into is not None:
        fill(into, tensors, path)
        return into
    name, config = about["model"], json.loads(about["config"])
    if name not in models.HOMES:
        error = unknown("model", name, models.HOMES)
        raise ValueError(f"{path}: {error} To load it, create the module and call load(file, into=module)")
    if config is None:
        raise ValueError(f"{path} was saved without a config; create the module and call load(file, into=module)")
    kind = getattr(models, name)
    if not issubclass(kind, nn.Module):
        return kind.from_config(config, tensors)
    model = kind.from_config(config)
    fill(model, tensors, path)
    return model.eval()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and its metadata."""
    library = safetensors()
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with library.safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118
    except library.SafetensorError as error:
        raise ValueError(f"{path} is damaged, truncated, or not a safetensors file: {error}") from error


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load tensors into a module with the same parameters; else raise ValueError that names the differences."""
    if differences := differing(model, tensors):
        raise ValueError(
            f"{path} contains a different model than this {type(model).__name__}: {'; '.join(differences)}"
        )
    model.load_state_dict(tensors)


def differing(model: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """The differences between tensors and a module's state, at most four of them."""
    own = model.state_dict()
    found = [f"the file has no {name}" for name in own if name not in tensors]
    found += [f"the model has no {name}" for name in tensors if name not in own]
    found += [
        f"{name} is {tuple(tensors[name].shape)} in the file and {tuple(own[name].shape)} in the model"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    return found[:4] + ([f"and {len(found) - 4} more"] if len(found) > 4 else [])


def without_twins(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors without duplicates that share memory, and a table from each duplicate to the name that was kept."""
    first: dict[tuple[Any, ...], str] = {}
    unique: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, str(tensor.device))
        if tensor.numel() and place in first:
            tied[name] = first[place]
        else:
            first[place] = name
            unique[name] = tensor
    return unique, tied
