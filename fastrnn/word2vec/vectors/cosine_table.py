"""Cosine similarity in batches: vectors' products with many queries at once, and the largest of each.

The products run where the vectors are, on the CPU or on a GPU. What calls this is without torch, so it is imported when
the first similarity is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastrnn.word2vec import _C

# Scores that one product may hold, 16 MiB of them. On two cores 19,544 analogies over 30,000 words took 1.5 to 2.0 s,
# with half as many scores 1.9 to 2.4 s.
SCORES_AT_ONCE = 1 << 22
GROUP = 64  # neighbouring scores of which `largest` takes the maximum first


def _alone_if_forked() -> None:
    """Keep torch to one thread in a child of fork, where it would wait for ever for the threads of the parent."""
    if _C.forked() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@dataclass(frozen=True)
class CosineTable:
    """What queries are compared with.

    Args:
        vectors: (V, D).
        lengths: (V,) of the vectors.
        unusable: the rows of vectors that hold NaN or infinity, which are nobody's neighbours; None for none.
    """

    vectors: Tensor
    lengths: Tensor
    unusable: Tensor | None = None

    @staticmethod
    def of(vectors: np.ndarray, lengths: np.ndarray, device: torch.device) -> CosineTable:
        """The table on a device; on the CPU it is the arrays' memory."""
        finite = np.isfinite(lengths)
        unusable = None if finite.all() else torch.from_numpy(~finite).to(device)
        return CosineTable(torch.from_numpy(vectors).to(device), torch.from_numpy(lengths).to(device), unusable)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | list[int]) -> CosineTable:
        _alone_if_forked()
        unusable = None if self.unusable is None else self.unusable[rows]
        return CosineTable(self.vectors[rows], self.lengths[rows], unusable)

    def cosines(self, queries: np.ndarray) -> Tensor:
        """Cosines (Q, V) with queries (Q, D), which are unit vectors."""
        _alone_if_forked()
        return (torch.from_numpy(queries).to(self.vectors.device) @ self.vectors.T).div_(self.lengths)

    def nearest(
        self, queries: np.ndarray, excluded: Sequence[Sequence[int]], count: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The nearest rows of many queries, in blocks that bound the memory.

        Args:
            queries: (Q, D), unit vectors.
            excluded: for each query the rows that may not be its answer.
            count: how many rows each query gets, at most V.

        Yields:
            For each block of q queries their cosines and rows, as :meth:`largest`.
        """
        block = max(1, SCORES_AT_ONCE // max(1, len(self)))
        for start in range(0, len(queries), block):
            stretch = slice(start, start + block)
            yield self.largest(self.cosines(queries[stretch]), excluded[stretch], count)

    def largest(self, scores: Tensor, excluded: Sequence[Sequence[int]], count: int) -> tuple[Tensor, Tensor]:
        """The largest of scores (Q, V) and their rows, both (Q, count), the largest first.

        A row that is excluded or unusable gets the score -inf, and so comes last.
        """
        if self.unusable is not None:
            scores = scores.masked_fill(self.unusable, -torch.inf)
        pairs = [(q, row) for q, rows in enumerate(excluded) for row in rows]
        if pairs:
            q, row = torch.tensor(pairs, device=scores.device).T
            scores[q, row] = -torch.inf
        return largest(scores, count)


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
