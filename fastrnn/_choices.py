"""Options that take a list of known names, such as "gru,lstm"."""

from __future__ import annotations

from collections.abc import Collection


def chosen(what: str, text: str, known: Collection[str]) -> list[str]:
    """The names in ``text``, which are separated by commas.

    Raises:
        ValueError: one of them is unknown. The message names ``what``, such as "a cell" or "--dtype".
    """
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {name!r}")
    return names
