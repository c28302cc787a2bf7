"""The settings that all tasks share. A task adds its own in a subclass. Read without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from inspect import signature
from typing import Any


def setting(default: Any, help: str, *, least: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of a settings class: its default, its help, and limits beyond its type."""
    return field(default=default, metadata={"help": help, "least": least, "choices": tuple(choices)})


def help_of(of: Field[Any]) -> str:
    """The help of a setting, with its choices if there are any."""
    choices = ", ".join(of.metadata.get("choices", ()))
    return f"{of.metadata.get('help', '')}{f' One of {choices}.' if choices else ''}"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """The settings of every task."""

    data: str | None = setting(None, "File or folder to train on; by default the task makes its own data.")
    seed: int = setting(0, "Random seed for weights, data order and dropout.", least=0)

    def given_data(self) -> str:
        """The data, where a task needs the user's own; raises ValueError if there is none."""
        if self.data is None:
            raise ValueError("there is no data to evaluate on; type --data FILE")
        return self.data

    def arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The settings with names of keyword arguments of a function or class, to pass to it."""
        taken = {each.name for each in signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name in taken}
