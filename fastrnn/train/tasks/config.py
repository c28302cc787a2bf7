"""Settings from TOML files and from `--set key=value`, checked against a task's settings class; and back to TOML."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fastrnn.train._names import unknown
from fastrnn.train.tasks.settings import TaskSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S", bound=TaskSettings)
NONE = "none"  # TOML has no word for it
BESIDE = (
    "task",
    "version",
    "published",
    "goal",
    "smoke",
)  # what a run's settings.toml and a recipe have beside settings
KINDS: Mapping[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
}


def read_toml(file: str | Path) -> dict[str, Any]:
    """The contents of a TOML file; raises ValueError with the file and the line of what is not TOML."""
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        what, line = (found[1], found[2]) if found else (str(error), None)
        raise ValueError(f"{file}, line {line or len(text.splitlines())}: {what}") from None


def read_config(file: str | Path, task: str) -> dict[str, Any]:
    """The settings in a file that was written for a task: a user's, a recipe's or a run's settings.toml."""
    found = read_toml(file)
    if found.get("task", task) != task:
        raise ValueError(f"{file} is for the task {found['task']!r}, not {task!r}. Type: fastrnn train {found['task']}")
    return {key: value for key, value in found.items() if key not in BESIDE}


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parses `key=value`: the value as TOML, or as text where it is none; a key may be nested, as schedule.factor."""
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not (key and equals):
        raise ValueError(f"--set takes key=value, such as --set lr=0.01; got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")
        return key, parsed["value"] if len(parsed) == 1 else value
    except tomllib.TOMLDecodeError:
        return key, value


def assign(of: type[S], settings: Mapping[str, Any], assignments: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings with some replaced, one after the other.

    A nested key changes one entry of a table: of the settings', or of the class's default. A text there is the table's
    name: schedule = "decay" is {name = "decay"}.
    """
    found = copy.deepcopy(dict(settings))
    defaults = {each.name: each.default for each in dataclasses.fields(of)}
    for key, value in assignments:
        *path, last = key.split(".")
        table = found
        for number, part in enumerate(path, 1):
            inner = table.get(part, defaults.get(part) if number == 1 else None)
            if inner in (None, NONE):
                inner = {}
            elif isinstance(inner, str):
                inner = {"name": inner}
            elif not isinstance(inner, Mapping):
                entry = [*path, last][number]
                raise ValueError(f"{'.'.join(path[:number])} is {show(inner)}, which has no entry {entry!r}")
            table[part] = table = dict(inner)
        table[last] = value
    return found


def make_settings(of: type[S], values: Mapping[str, Any], where: str = "") -> S:
    """Settings of a class from names and values, the others at their defaults.

    Args:
        of: the settings class of a task.
        values: as TOML gives them, or Python. The text "none" is None where a setting may be None.
        where: what begins an error, such as a file's name.

    Raises:
        ValueError: a name that the class lacks, a value of another type, or one that is not allowed.
    """
    fields = {each.name: each for each in dataclasses.fields(of)}
    hints = get_type_hints(of)
    found = {}
    for key, value in values.items():
        if key not in fields:
            raise ValueError(f"{where}{unknown('setting', key, fields)}")
        try:
            found[key] = checked(value, hints[key], fields[key].metadata)
        except ValueError as error:
            raise ValueError(f"{where}{key} {error}; got {show(value)}") from None
    return of(**found)


def checked(value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    """The value as the annotation has it; raises ValueError that says what is allowed, such as "is a whole number"."""
    allowed = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if NoneType in allowed and (value is None or value == NONE):
        return None
    for kind in allowed:
        if fits(value, kind):
            value = converted(value, kind)
            break
    else:
        raise ValueError(f"must be {' or '.join(describe(kind) for kind in allowed)}")
    if (choices := limits.get("choices")) and value not in choices:
        near = get_close_matches(str(value), choices, n=1)
        raise ValueError(f"must be one of {', '.join(choices)}{f' (did you mean {near[0]}?)' if near else ''}")
    if (least := limits.get("least")) is not None and not value >= least:  # not: a NaN is not allowed either
        raise ValueError(f"must be at least {least:g}")
    return value


def fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin in KINDS:
        return isinstance(value, KINDS[origin][1]) and isinstance(value, bool) == (origin is bool)
    if origin in (tuple, list, Sequence):
        inner = get_args(kind)[0]
        return isinstance(value, (tuple, list)) and all(fits(each, inner) for each in value)
    return isinstance(value, origin)


def converted(value: Any, kind: Any) -> Any:
    origin = get_origin(kind) or kind
    if origin in (tuple, list, Sequence):
        return tuple(converted(each, get_args(kind)[0]) for each in value)
    return float(value) if origin is float else value


def describe(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if kind is NoneType:
        return f'"{NONE}"'
    if origin in KINDS:
        return KINDS[origin][0]
    if origin in (tuple, list, Sequence):
        return f"a list, each {describe(get_args(kind)[0])}"
    return (
        'a table such as {name = "decay", factor = 0.5}'
        if origin is not dict and issubclass(origin, Mapping)
        else "a table"
    )


def show(value: Any) -> str:
    """A value as one would write it in TOML, or as Python shows it."""
    try:
        return toml(value)
    except TypeError:
        return repr(value)


def toml(value: Any) -> str:
    """A value in TOML. None is the text "none"."""
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):  # JSON's escapes are TOML's, but that JSON lets one control character stand
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{toml_key(key)} = {toml(each)}' for key, each in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else toml(key)


def document(settings: TaskSettings, **beside: str) -> str:
    """A TOML document of all settings, those at their defaults too; first what stands beside them, such as the task."""
    values = beside | {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    return "".join(f"{toml_key(key)} = {toml(value)}\n" for key, value in values.items())
