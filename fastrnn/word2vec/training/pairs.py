"""The training pairs of a window, as drawn in the papers: for teaching and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Token = TypeVar("Token")


def skip_gram_pairs(tokens: Sequence[Token], window: int) -> list[tuple[Token, Token]]:
    """All pairs (word, context word): arXiv:1310.4546, section 2.

    ``skip_gram_pairs("the quick brown fox".split(), 2)`` begins with (the, quick), (the, brown), (quick, the).

    Args:
        window: number of context words on either side, 1 or more.
    Raises:
        ValueError: window is less than 1.
    """
    if window < 1:
        raise ValueError(f"window must be 1 or more, got {window}")
    return [
        (word, tokens[j])
        for i, word in enumerate(tokens)
        for j in range(max(i - window, 0), min(i + window + 1, len(tokens)))
        if j != i
    ]
