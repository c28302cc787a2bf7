"""How a word goes into the first layer: as a row of an embedding, learnt or given, or as a one-hot vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

if TYPE_CHECKING:
    from fastrnn.train.data.vocabulary import Vocabulary


class Embedding(torch.nn.Embedding):
    """torch.nn.Embedding; in training ``drop`` is the probability that a word is zero wherever it stands in a batch.

    That is dropout of the rows of the matrix (Gal & Ghahramani, 2016), drawn for each call, without a copy of it.
    """

    def __init__(self, words: int, size: int, drop: float = 0.0) -> None:
        super().__init__(words, size)
        self.drop = drop

    def forward(self, tokens: Tensor) -> Tensor:
        rows = super().forward(tokens)
        if not (self.training and self.drop):
            return rows
        kept = dropout(rows.new_ones(self.num_embeddings), self.drop)
        return rows * kept[tokens].unsqueeze(-1)


def given_vectors(vocabulary: Vocabulary, vectors: Any) -> Tensor:
    """The rows (V, E) that a vocabulary's words have in ``vectors``: Word2Vec, its vectors, or a matrix (V, E).

    Words without a vector get normal numbers with the mean and deviation that the others have together.

    Raises:
        ValueError: no word has a vector, or the matrix has another number of rows.
    """
    if isinstance(vectors, Tensor):
        if vectors.dim() != 2 or len(vectors) != len(vocabulary):
            raise ValueError(f"Expected vectors of shape ({len(vocabulary)}, E), got {list(vectors.shape)}")
        return vectors.detach().float().clone()  # training is not to write into the caller's
    table = getattr(vectors, "wv", vectors)
    known = [row for row, token in enumerate(vocabulary.tokens) if token in table]
    if not known:
        raise ValueError(
            f"none of the vocabulary's words has a vector, such as {vocabulary.tokens[:3]}; "
            "train Word2Vec on the same tokens"
        )
    found = torch.stack([torch.tensor(table[vocabulary.tokens[row]]) for row in known])
    rows = torch.randn(len(vocabulary), found.size(1)) * found.std() + found.mean()
    rows[known] = found
    return rows


def identity_input(layer: Any) -> None:
    """Makes a layer take W_ih x itself: its first W_ih is the identity, and not learnt.

    So W_ih of one-hot words, (G H, V), may be an embedding of G H features: its product with a one-hot vector is a
    column of it, and neither the vector nor the product is made.
    """
    weight = layer.weight_ih_l0
    with torch.no_grad():
        torch.nn.init.eye_(weight)
    weight.requires_grad_(False)
