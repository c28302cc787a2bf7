"""Word vectors as the embedding layer of a network, with a table from words to rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from fastrnn.word2vec.vectors.lookup import Lookup


class Rows(dict[str, int]):
    """The row of each word in an embedding. Other words get the row of unknown words, if there is one.

    Attributes:
        unknown: the row for unknown words, or None, which makes them raise KeyError.
        padding: the row for padding, or None.
    """

    def __init__(self, rows: dict[str, int], unknown: int | None, padding: int | None) -> None:
        super().__init__(rows)
        self.unknown, self.padding = unknown, padding

    def __missing__(self, word: str) -> int:
        if self.unknown is None:
            raise KeyError(f"Word {word!r} has no row, and the embedding has no row for unknown words")
        return self.unknown

    def encode(self, words: Iterable[str]) -> Tensor:
        """The rows (T,) of the words of a sentence, int64."""
        return torch.tensor([self[word] for word in words], dtype=torch.int64)


def to_embedding(
    vectors: Lookup, freeze: bool = True, unknown: str | None = "<unk>", padding: str | None = "<pad>"
) -> tuple[torch.nn.Embedding, Rows]:
    """See :meth:`fastrnn.word2vec.WordVectors.to_embedding`."""
    rows, extra = dict(vectors.key_to_index), []
    for key, vector in ((unknown, vectors.vectors.mean(axis=0)), (padding, np.zeros(vectors.vector_size))):
        if key is not None and key not in rows:
            rows[key] = len(rows)
            extra.append(vector)
    weights = torch.from_numpy(np.vstack([vectors.vectors, *extra]).astype(np.float32, copy=False))
    table = Rows(rows, None if unknown is None else rows[unknown], None if padding is None else rows[padding])
    if table.padding is not None:
        weights[table.padding] = 0
    return torch.nn.Embedding.from_pretrained(weights, freeze=freeze, padding_idx=table.padding), table
