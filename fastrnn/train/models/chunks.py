"""Chunks and their F1, counted as conlleval does, the script of CoNLL-2000.

Tjong Kim Sang and Buchholz, 2000: Introduction to the CoNLL-2000 shared task: chunking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Chunk = tuple[str, int, int]  # its type, its first token, and the token after its last


class ChunkScore(NamedTuple):
    """Precision, recall and F1 of chunks, from 0 to 1, and the numbers of true, found and right chunks."""

    precision: float
    recall: float
    f1: float
    chunks: int
    found: int
    right: int


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """The chunks of one sentence's tags, B-X, I-X and O.

    A chunk begins at every B-X, and at an I-X after O or another type: B-NP I-VP are two chunks, and O I-NP is one. It
    includes the following I-X.

    Raises:
        ValueError: a tag is neither B-X, I-X nor O.
    """
    found: list[Chunk] = []
    kind, first = None, 0
    for place, tag in enumerate((*tags, "O")):
        prefix, _, name = tag.partition("-")
        if prefix not in ("B", "I", "O") or (prefix == "O") == bool(name):
            raise ValueError(
                f"tag {place} is {tag!r}; tags must be B-X at the first token of a chunk, I-X inside it, and O outside"
            )
        if kind is not None and (prefix != "I" or name != kind):
            found.append((kind, first, place))
            kind = None
        if prefix != "O" and kind is None:
            kind, first = name, place
    return found


def chunk_f1(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> ChunkScore:
    """The score over sentences, given as pairs of true and predicted tags.

    A chunk is right if its type and both its ends are.
    """
    total = found = right = 0
    for truth, predicted in pairs:
        if len(truth) != len(predicted):
            raise ValueError(
                f"Expected {len(truth)} predicted tags for a sentence of {len(truth)} tokens, got {len(predicted)}"
            )
        real, guess = set(chunks(truth)), set(chunks(predicted))
        total, found, right = total + len(real), found + len(guess), right + len(real & guess)
    precision, recall = right / found if found else 0.0, right / total if total else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return ChunkScore(precision, recall, f1, total, found, right)
