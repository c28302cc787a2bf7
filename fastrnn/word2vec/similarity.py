"""Cosine similarity in batches: rows of unit length, their products with many queries at once, the largest of each.

Everything here is a function of tensors and runs where they are, on the CPU or on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

# Scores that one product may hold, 16 MiB of them. On two cores 19,544 analogies over 30,000 words took 1.5 to 2.0 s,
# with half as many scores 1.9 to 2.4 s.
SCORES_AT_ONCE = 1 << 22
GROUP = 64  # neighbouring scores of which `largest` takes the maximum first


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
        yield largest(scores, count)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The values and columns (Q, count) of the largest of scores (Q, V) in each row, as ``scores.topk`` finds them.

    The largest are all within the ``count`` groups that have the largest maxima, and a maximum is quickly found.
    """
    groups = scores.shape[1] // GROUP
    if count >= groups:
        values, columns = scores.topk(count, dim=1)
        return values, columns
    head = scores[:, : groups * GROUP].unflatten(1, (groups, GROUP))
    best = head.amax(dim=2).topk(count, dim=1).indices
    columns = (best[:, :, None] * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
    tail = torch.arange(groups * GROUP, scores.shape[1], device=scores.device).expand(len(scores), -1)
    columns = torch.cat([columns, tail], dim=1)
    values, places = scores.gather(1, columns).topk(count, dim=1)
    return values, columns.gather(1, places)
