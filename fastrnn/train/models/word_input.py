"""The input of the first layer: an embedding of words, learned or given, or one-hot vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

if TYPE_CHECKING:
    from fastrnn.train.data.vocabulary import Vocabulary


class Embedding(torch.nn.Embedding):
    """torch.nn.Embedding with dropout of whole words: with probability ``drop`` a word is zero in a whole batch.

    This is dropout of the rows of the matrix (Gal & Ghahramani, 2016), drawn for each call, without a copy of the
    matrix.
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
    """The rows (V, E) of a vocabulary's words in ``vectors``: a Word2Vec, its vectors, or a matrix (V, E).

    Words without a vector get normal numbers with the mean and deviation of the others.

    Raises:
        ValueError: no word has a vector, or the number of rows is wrong.
    """
    if isinstance(vectors, Tensor):
        if vectors.dim() != 2 or len(vectors) != len(vocabulary):
            raise ValueError(f"Expected vectors of shape ({len(vocabulary)}, E), got {list(vectors.shape)}")
        return vectors.detach().float().clone()  # training must not write into the caller's matrix
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
    """Makes a layer take W_ih x as its input: its first W_ih becomes the identity and is not trained.

    Then W_ih of one-hot words (G H, V) can be an embedding with G H features: its product with a one-hot vector is one
    of its columns, so neither the vector nor the product is computed.
    """
    weight = layer.weight_ih_l0
    with torch.no_grad():
        torch.nn.init.eye_(weight)
    weight.requires_grad_(False)
