"""Counts the tokens that a vocabulary is built from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fastrnn.train.data.tokenizing import tokenizer_named


def count_tokens(texts: Any, tokenizer: str, eos: str | None) -> Counter[str]:
    """The counts of the tokens of a text, of texts and lists of tokens, or given counts.

    Raises TypeError for anything else.
    """
    if isinstance(texts, Mapping):
        return Counter(texts)
    split = tokenizer_named(tokenizer).split
    counts: Counter[str] = Counter()
    for each in [texts] if isinstance(texts, str) else texts:
        if isinstance(each, str):
            counts.update(split(each, eos))
        else:
            counts.update(_tokens(each))
    return counts


def _tokens(each: Any) -> list[str]:
    tokens = list(each) if isinstance(each, Iterable) and not isinstance(each, bytes) else None
    if tokens is None or not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"expected texts (str) or lists of tokens (str), got {each!r:.80}")
    return tokens


def as_text(each: Any) -> str:
    """A text, to learn subwords from. Raises TypeError for anything else."""
    if not isinstance(each, str):
        raise TypeError(f"subwords are learned from texts (str), got {each!r:.80}")
    return each
