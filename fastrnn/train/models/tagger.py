"""Tags every token: embeddings of its columns, recurrent layers in both directions, a softmax or a CRF.

With a CRF this is the BI-LSTM-CRF of Huang, Xu and Yu (2015, arXiv:1508.01991).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fastrnn.train.data.batch import Tagged
from fastrnn.train.loop.step import Step
from fastrnn.train.models.chunks import chunk_f1
from fastrnn.train.models.columns import Columns
from fastrnn.train.models.crf import LinearChainCRF, bio_rules
from fastrnn.train.models.means import Means
from fastrnn.train.models.options import options_of
from fastrnn.train.models.pooling import beyond
from fastrnn.train.models.recurrent import CELLS, Recurrent
from fastrnn.train.models.word_input import given_vectors

PADDING = -100  # the target without a tag


class Tagger(nn.Module):
    """Tags sequences of tokens (T, B, C), with C ids for each token.

    Args:
        columns: the inputs for a token, with their vocabularies; see :meth:`Columns.build`.
        tags: the names of the tags. If all are B-X, I-X or O, they tag chunks: the CRF enforces the rules of BIO, and
            :meth:`evaluate` counts chunks.
        cell, hidden, layers: the recurrent layers; see :class:`Recurrent`.
        bidirectional: read in both directions.
        embedding: size of the first column's embedding.
        column_embedding: size of the embedding of every other column.
        dropout: probability of zeroing an element of the embeddings and of the layers' outputs.
        word_dropout: probability of replacing a token's first column by the unknown token in training, so that the
            model learns to use the context.
        vectors: initial rows of the first column's embedding: a Word2Vec, its vectors, or a matrix (V, E), which
            determines E.
        crf: score whole tag sequences with a linear-chain CRF; else each tag alone with a softmax.
    """

    def __init__(
        self,
        columns: Columns,
        tags: Sequence[str],
        *,
        cell: str = CELLS[0],
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        embedding: int = 100,
        column_embedding: int = 25,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        vectors: Any = None,
        crf: bool = True,
    ):
        super().__init__()
        first, *others = columns.vocabularies.values()
        rows = None if vectors is None else given_vectors(first, vectors)
        embedding = embedding if rows is None else rows.size(1)
        self.columns, self.tags = columns, list(tags)
        self._options = options_of(Tagger, locals(), without=("vectors",))
        if word_dropout and first.unknown is None:
            raise ValueError(
                "word_dropout replaces words by the unknown token, which the vocabulary lacks; pass word_dropout=0"
            )
        self.word_dropout = word_dropout
        self.embeddings = nn.ModuleList(
            [
                nn.Embedding(len(first), embedding, _weight=rows),
                *(nn.Embedding(len(each), column_embedding) for each in others),
            ]
        )
        self.dropout = nn.Dropout(dropout)
        size = embedding + column_embedding * len(others)
        self.recurrent = Recurrent(cell, size, hidden, layers, bidirectional=bidirectional, dropout=dropout)
        self.output = nn.Linear(self.recurrent.output_size, len(self.tags))
        self.chunking = all(tag == "O" or tag[:2] in ("B-", "I-") for tag in self.tags)
        self.crf = LinearChainCRF(len(self.tags), *(bio_rules(self.tags) if self.chunking else ())) if crf else None

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The score (T, B, K) of each of K tags for each token (T, B, C), before softmax or CRF.

        Ids (T, B) are those of a model with one column.
        """
        input = input.unsqueeze(2) if input.dim() == 2 else input
        if input.dim() != 3 or input.shape[2] != len(self.embeddings):
            names = ", ".join(self.columns.vocabularies)
            raise ValueError(f"Expected ids (T, B, {len(self.embeddings)}) of {names}, got {tuple(input.shape)}")
        if self.training and self.word_dropout:
            words = input[:, :, 0]
            hidden = torch.rand(words.shape, device=words.device) < self.word_dropout
            unknown = next(iter(self.columns.vocabularies.values())).unknown
            assert unknown is not None  # checked in __init__
            input = torch.cat([words.masked_fill(hidden, unknown).unsqueeze(2), input[:, :, 1:]], dim=2)
        embedded = [embedding(input[:, :, i]) for i, embedding in enumerate(self.embeddings)]
        output, _ = self.recurrent(self.dropout(torch.cat(embedded, dim=2)), lengths=lengths)
        return self.output(self.dropout(output))

    def loss(self, batch: Tagged, state: Any = None) -> Step:
        """The mean negative log-probability of the tags."""
        scores = self(batch.input, batch.lengths)
        items = int((batch.target != PADDING).sum())
        if self.crf is None:
            loss = cross_entropy(scores.flatten(0, 1), batch.target.flatten(), ignore_index=PADDING)
        else:
            loss = -self.crf(scores, batch.target, batch.lengths).sum() / items
        return Step(loss, items)

    @torch.no_grad()
    def predict(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The tags (T, B) int64 of the most probable path, or of each token without a CRF; -100 beyond the lengths."""
        scores = self(input, lengths)
        if self.crf is not None:
            return self.crf.best(scores, lengths)[0]
        best = scores.argmax(2)
        if lengths is None:
            return best
        return best.masked_fill(beyond(len(best), lengths, best.device), PADDING)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Tagged]) -> dict[str, float]:
        """The loss and accuracy of the tags; precision, recall and F1 of the chunks, if the tags are B-X, I-X and O."""
        means = Means()
        pairs = []
        for batch in batches:
            step = self.loss(batch)
            predicted, real = self.predict(batch.input, batch.lengths), batch.target != PADDING
            right = (predicted == batch.target)[real].float().mean()
            means.add(step.items, loss=step.loss, accuracy=right)
            if self.chunking:
                for true, guess, has in zip(batch.target.T, predicted.T, real.T, strict=True):
                    pairs.append((self._names(true[has]), self._names(guess[has])))
        measured = means.result()
        if self.chunking:
            score = chunk_f1(pairs)
            measured |= {"precision": score.precision, "recall": score.recall, "f1": score.f1}
        return measured

    @torch.no_grad()
    def tag(self, *columns: str | Sequence[str]) -> list[tuple[str, str]]:
        """Each token of a sentence with its tag.

        Args:
            columns: the given columns in their order: the words, then for example their parts of speech. A string is
                split at white space.

        Example:
            >>> model.tag("He reckons the deficit will narrow", "PRP VBZ DT NN MD VB")
            [('He', 'B-NP'), ('reckons', 'B-VP'), ('the', 'B-NP'), ('deficit', 'I-NP'), ...]
        """
        split = [column.split() if isinstance(column, str) else list(column) for column in columns]
        ids = self.columns.encode(split)
        if not len(ids):
            return []
        was = self.training
        self.eval()
        try:
            found = self.predict(ids.unsqueeze(1).to(self.output.weight.device))
        finally:
            self.train(was)
        return list(zip(split[0], self._names(found[:, 0]), strict=True))

    def _names(self, ids: Tensor) -> list[str]:
        return [self.tags[i] for i in ids.tolist()]

    def config(self) -> dict[str, Any]:
        return {"columns": self.columns.config(), "tags": self.tags, **self._options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Tagger:
        options = dict(config)
        return cls(Columns.from_config(options.pop("columns")), options.pop("tags"), **options)
