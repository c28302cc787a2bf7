"""Settings from TOML files and `--set key=value`, checked against a task's settings class, and back to TOML."""

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
NONE = "none"  # TOML has no null
BESIDE = (
    "task",
    "version",
    "published",
    "goal",
    "smoke",
)  # other keys of a run's settings.toml and of a recipe
KINDS: Mapping[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
}


def read_toml(file: str | Path) -> dict[str, Any]:
    """The contents of a TOML file; raises ValueError with file and line if it is not TOML."""
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
    """The settings in a file for a task: a user's file, a recipe, or the settings.toml of a run."""
    found = read_toml(file)
    if found.get("task", task) != task:
        raise ValueError(f"{file} is for the task {found['task']!r}, not {task!r}. Type: fastrnn train {found['task']}")
    return {key: value for key, value in found.items() if key not in BESIDE}


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parses `key=value`: the value as TOML, or else as text. A key may be nested, as schedule.factor."""
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
    """The settings with assignments applied in order.

    A nested key changes one entry of a table, taken from the settings or from the default of the class. A text stands
    for a table with that name: schedule = "decay" is {name = "decay"}.
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
    """An instance of a settings class from names and values; other settings keep their defaults.

    Args:
        of: the settings class of a task.
        values: as in TOML or Python. The text "none" is None where a setting may be None.
        where: the beginning of an error, such as the name of a file.

    Raises:
        ValueError: a name is unknown, or a value has the wrong type or is not allowed.
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
    """The value in the annotated type; raises ValueError with what is allowed, such as "must be a whole number"."""
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
    least, each = limits.get("least"), value if isinstance(value, tuple) else (value,)
    if least is not None and not all(one >= least for one in each):  # so that NaN is not allowed either
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
    """A value in TOML, or as Python shows it."""
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
    if isinstance(value, str):  # JSON's escapes are TOML's, except that JSON allows one control character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{toml_key(key)} = {toml(each)}' for key, each in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def toml_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else toml(key)


def document(settings: TaskSettings, **beside: str) -> str:
    """A TOML document of all settings, defaults included, after other keys such as the task."""
    values = beside | {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    return "".join(f"{toml_key(key)} = {toml(value)}\n" for key, value in values.items())
