"""Cosine similarity in batches: rows of unit length, their products with many queries at once, the largest of each.

Everything here is a function of tensors and runs where they are, on the CPU or on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Scores that one product may hold: 8 MiB of them.
SCORES_AT_ONCE = 1 << 21


def norms(vectors: Tensor) -> Tensor:
    """Lengths (V,) of the rows of vectors (V, D). A row of zeros has length 1, so that it is similar to nothing."""
    lengths = torch.linalg.vector_norm(vectors, dim=1)
    return torch.where(lengths == 0, torch.ones_like(lengths), lengths)


def unit(vectors: Tensor) -> Tensor:
    """The rows of vectors (V, D), each of length 1; a row of zeros stays as it is."""
    return vectors / norms(vectors)[:, None]


def cosines(vectors: Tensor, lengths: Tensor, queries: Tensor) -> Tensor:
    """Cosines (Q, V) of queries (Q, D), which are unit vectors, with vectors (V, D) of such lengths (V,)."""
    return (queries @ vectors.T).div_(lengths)


def nearest(
    vectors: Tensor, lengths: Tensor, queries: Tensor, excluded: Sequence[Sequence[int]], count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The nearest rows of many queries, in blocks that bound the memory.

    Args:
        vectors: (V, D).
        lengths: (V,), of :func:`norms`.
        queries: (Q, D), unit vectors.
        excluded: for each query the rows that may not be its answer.
        count: how many rows each query gets, at most V.

    Yields:
        For each block of q queries their cosines and rows, both (q, count), the most similar first. An excluded row
        has the cosine -inf, and so comes last.
    """
    block = max(1, SCORES_AT_ONCE // max(1, len(vectors)))
    for start in range(0, len(queries), block):
        scores = cosines(vectors, lengths, queries[start : start + block])
        pairs = [(q, row) for q, rows in enumerate(excluded[start : start + block]) for row in rows]
        if pairs:
            q, row = torch.tensor(pairs, device=scores.device).T
            scores[q, row] = -torch.inf
        yield scores.topk(count, dim=1)
