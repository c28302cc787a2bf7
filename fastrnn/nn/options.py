"""The constructor options that torch.nn's layers have not: what each may be, and what it changes.

An option is an attribute of the layer, with its default on the class, and counts as it is at the call.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, TypedDict

from fastrnn._numbers import finite


class Changes(Enum):
    """What a layer computes differently with an option."""

    NOTHING = "no result"
    TRAINING = "results in training"
    CELL = "the cell, which reads the same parameters in another way"
    PARAMETERS = "parameters"


class Option(NamedTuple):
    checked: Callable[[str, Any], Any]  # the value, or an error that has the option's name
    changes: Changes


class Options(TypedDict, total=False):
    """Those that RNN, GRU and LSTM share."""

    recompute: bool
    learn_initial_state: bool
    input_dropout: float
    locked_dropout: bool
    weight_dropout: float
    recurrent_dropout: float
    zoneout_h: float
    layer_norm: bool
    heads: int


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"Expected {name} to be a bool, got {type(value).__name__}")
    return value


def count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"Expected {name} to be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"Expected {name} of at least 1, got {value}")
    return value


def rate(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Expected {name} to be a probability, got {type(value).__name__}")
    if not 0 <= value <= 1:
        raise ValueError(f"Expected {name} to be a probability in [0, 1], got {value}")
    return float(value)


def locked(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(
            f"Expected {name} to be a bool, got {type(value).__name__}; the rates are dropout (between layers) and "
            "input_dropout"
        )
    return value


def number_or_none(name: str, value: Any) -> float | None:
    return None if value is None else finite(name, value)


OPTIONS: dict[str, Option] = {
    "recompute": Option(boolean, Changes.NOTHING),
    "learn_initial_state": Option(boolean, Changes.PARAMETERS),
    "input_dropout": Option(rate, Changes.TRAINING),
    "locked_dropout": Option(locked, Changes.TRAINING),
    "weight_dropout": Option(rate, Changes.TRAINING),
    "recurrent_dropout": Option(rate, Changes.TRAINING),
    "zoneout_h": Option(rate, Changes.CELL),
    "zoneout_c": Option(rate, Changes.CELL),
    "layer_norm": Option(boolean, Changes.PARAMETERS),
    "heads": Option(count, Changes.PARAMETERS),
    "reset_after": Option(boolean, Changes.CELL),
    "peephole": Option(boolean, Changes.PARAMETERS),
    "coupled": Option(boolean, Changes.PARAMETERS),
    "forget_bias": Option(number_or_none, Changes.PARAMETERS),
}


def checked(name: str, value: Any) -> Any:
    """The value of an option as a layer keeps it.

    Raises:
        TypeError, ValueError: not what the option may be.
    """
    return OPTIONS[name].checked(name, value)


def for_modules(options: dict[str, Any], classes: dict[str, type]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The options that each module gets which ``fastrnn.convert`` converts, and what to say of those that get less.

    Args:
        classes: fastrnn's class of each module, by its name.

    Raises:
        TypeError: there is no such option, or its value is of another type.
        ValueError: an option changes parameters, its value is out of range, or no module has it.
    """
    values = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise TypeError(f"convert() got an unexpected keyword argument {name!r}; options are {', '.join(_FREE)}")
        if OPTIONS[name].changes is Changes.PARAMETERS:
            raise ValueError(
                f"{name} changes parameters, and convert keeps them as they are; construct the layer with "
                f"{name}={value!r}. What convert passes on: {', '.join(_FREE)}"
            )
        values[name] = checked(name, value)
    found = {
        module: {name: value for name, value in values.items() if name in cls._beyond_torch}  # type: ignore[attr-defined]
        for module, cls in classes.items()
    }
    for name in values:
        if classes and not any(name in given for given in found.values()):
            raise ValueError(f"Expected a layer that has the option {name}; the model has none")
    lacking = [
        f"{module} ({classes[module].__name__} has no {', '.join(values.keys() - given.keys())})"
        for module, given in found.items()
        if values.keys() - given.keys()
    ]
    return found, lacking


_FREE = [name for name, option in OPTIONS.items() if option.changes is not Changes.PARAMETERS]
