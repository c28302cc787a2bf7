"""The options of a model, as its ``config`` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any


def options_of(model: type, values: Mapping[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keyword arguments of a model's constructor, out of ``locals()`` there.

    So an argument is named once, and none is left out of the config.

    Args:
        without: arguments whose effect is in the weights, such as vectors to begin with.
    """
    named = [each.name for each in signature(model).parameters.values() if each.kind is each.KEYWORD_ONLY]
    return {name: values[name] for name in named if name not in without}
