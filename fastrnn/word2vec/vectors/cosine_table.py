"""Cosine similarities of many queries with all vectors at once, and the largest of each query.

The matrix products run in torch, on the CPU or a GPU. The rest of the package works without torch, so this module is
imported when the first similarity is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastrnn.word2vec import _C

# Scores per matrix product, 16 MiB. On two cores 19,544 analogies over 30,000 words take 1.5 to 2.0 s; with half as
# many scores 1.9 to 2.4 s.
SCORES_AT_ONCE = 1 << 22
GROUP = 64  # neighbouring scores that `largest` reduces to their maximum first


def _alone_if_forked() -> None:
    """Limit torch to one thread in a forked child, where it would wait forever for threads of the parent."""
    if _C.forked() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@dataclass(frozen=True)
class CosineTable:
    """Vectors that queries are compared with.

    Args:
        vectors: (V, D).
        lengths: (V,) lengths of the vectors.
        unusable: (V,) bool, True for vectors with NaN or infinity, which are never neighbours; None if there are none.
    """

    vectors: Tensor
    lengths: Tensor
    unusable: Tensor | None = None

    @staticmethod
    def of(vectors: np.ndarray, lengths: np.ndarray, device: torch.device) -> CosineTable:
        """The table on a device; on the CPU it shares the arrays' memory."""
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
        """The nearest rows of many queries, in blocks to limit memory.

        Args:
            queries: (Q, D), unit vectors.
            excluded: for each query, rows that must not be answers.
            count: number of rows per query, at most V.

        Yields:
            for each block of queries their cosines and rows, as :meth:`largest` returns them.
        """
        block = max(1, SCORES_AT_ONCE // max(1, len(self)))
        for start in range(0, len(queries), block):
            stretch = slice(start, start + block)
            yield self.largest(self.cosines(queries[stretch]), excluded[stretch], count)

    def largest(self, scores: Tensor, excluded: Sequence[Sequence[int]], count: int) -> tuple[Tensor, Tensor]:
        """The largest of scores (Q, V) and their rows, both (Q, count), largest first.

        Excluded and unusable rows get the score -inf, so they come last.
        """
        if self.unusable is not None:
            scores = scores.masked_fill(self.unusable, -torch.inf)
        pairs = [(q, row) for q, rows in enumerate(excluded) for row in rows]
        if pairs:
            q, row = torch.tensor(pairs, device=scores.device).T
            scores[q, row] = -torch.inf
        return largest(scores, count)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest scores of each row of (Q, V) and their columns: the result of ``scores.topk``, faster.

    All of them are in the ``count`` groups of columns with the largest maxima, and a maximum is quick to find.
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
