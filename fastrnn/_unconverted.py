"""The recurrent modules that :func:`fastrnn.convert` and :func:`fastrnn.to_torch` find, and warnings about the rest."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

_LONGEST = 1000  # elements of a list that are inspected: it may be a data set


def recurrent(model: torch.nn.Module, kinds: tuple[type, ...]) -> list[tuple[str, torch.nn.Module]]:
    """The modules in ``model`` that are instances of ``kinds``, each once, with their names.

    Raises:
        TypeError: ``model`` is not a module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"Expected a torch.nn.Module, got {type(model).__name__}")
    return [(name or "the model itself", m) for name, m in model.named_modules() if issubclass(type(m), kinds)]


def warn(task: str, model: torch.nn.Module, kinds: tuple[type, ...], skipped: dict[str, str]) -> bool:
    """Warn of what ``task`` did not change: ``skipped`` with reasons, and modules that torch does not register."""
    if skipped:
        text = ", ".join(f"{name} ({reason})" for name, reason in skipped.items())
        warnings.warn(f"fastrnn.{task} skipped {text}", stacklevel=3)
    hidden = list(_hidden(model, kinds))
    if hidden:
        warnings.warn(f"fastrnn.{task} did not reach {'; '.join(hidden)}", stacklevel=3)
    return bool(skipped or hidden)


def warn_of_nothing(model: torch.nn.Module, kinds: tuple[type, ...]) -> None:
    """Warn that there is none of ``kinds`` to convert, and name what the model has instead."""
    names = [kind.__name__ for kind in kinds]
    scripted = [name for name, m in model.named_modules() if getattr(m, "original_name", None) in names]
    others = [m for m in model.modules() if type(m).__name__ in names]
    if scripted:
        seen = f"torch.jit has compiled {', '.join(scripted)}; convert the model first, then use torch.jit.trace"
    elif others:
        places = sorted({f"{type(m).__module__}.{type(m).__name__}" for m in others})
        seen = f"{', '.join(places)} is not torch.nn's; convert the model before that library replaces its layers"
    else:
        counts = Counter(type(m).__name__ for m in model.modules())
        seen = "it has " + ", ".join(f"{count} {name}" for name, count in counts.most_common(8))
    warnings.warn(
        f"fastrnn.convert found no RNN, GRU, LSTM or cell of torch.nn in {type(model).__name__}: {seen}", stacklevel=3
    )


def _hidden(model: torch.nn.Module, kinds: tuple[type, ...]) -> Iterator[str]:
    """Modules in attributes that torch does not register, each with the line to write instead."""
    known = set(model.modules())
    for owner, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute in ("_modules", "_parameters", "_buffers"):
                continue
            path = f"{owner}.{attribute}" if owner else attribute
            for place, found in _modules_in(value, path):
                if found in known or not any(issubclass(type(m), kinds) for m in found.modules()):
                    continue
                known.add(found)
                yield f"{place} ({type(found).__name__}), which torch does not register: {_instead(attribute, value)}"


def _modules_in(value: Any, path: str, depth: int = 3) -> Iterator[tuple[str, torch.nn.Module]]:
    if issubclass(type(value), torch.nn.Module):
        yield path, value
    elif depth and isinstance(value, dict):
        for key, item in islice(value.items(), _LONGEST):
            yield from _modules_in(item, f"{path}[{key!r}]", depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for i, item in enumerate(islice(value, _LONGEST)):
            yield from _modules_in(item, f"{path}[{i}]", depth - 1)


def _instead(attribute: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"write self.{attribute} = torch.nn.ModuleDict({{...}})"
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"write self.{attribute} = torch.nn.ModuleList([...])"
    return f"write self.{attribute} = ... after super().__init__()"
