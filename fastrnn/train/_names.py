"""The error for an unknown name: what was given, the closest known name, and all known names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, given: object, known: Iterable[str]) -> ValueError:
    """ValueError such as: unknown schedule 'decai'; did you mean 'decay'? There are: cosine, decay."""
    names = sorted(known)
    near = get_close_matches(str(given).lower(), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return ValueError(f"unknown {kind} {given!r}{hint} There are: {', '.join(names)}")
