"""Many-to-one: classifies a text or a series.

An embedding or numbers, an optional convolution over time, recurrent layers, one vector for the whole sequence, an
optional dense layer, a softmax.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fastrnn.train.data.batch import Labelled
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.convolution import Convolution
from fastrnn.train.models.means import Means
from fastrnn.train.models.pooling import POOLINGS, pooled
from fastrnn.train.models.recurrent import CELLS, Recurrent
from fastrnn.train.models.word_input import given_vectors


class Classifier(nn.Module):
    """Classifies sequences into K classes.

    Args:
        inputs: the vocabulary of the tokens (T, B), or the number F of features of input (T, B, F).
        classes: their names.
        cell, hidden, layers, bidirectional: the recurrent layers; see :class:`Recurrent`.
        pooling: the vector of the sequence: "last", the final states of all directions; "mean" or "max" of the outputs
            over the steps of the sequence, without padding.
        embedding: size of the embedding of tokens; None for one-hot vectors.
        vectors: initial rows of the embedding: a Word2Vec, its vectors, or a matrix (V, E), which determines E.
        frozen: do not train the embedding.
        convolution: {"channels", "kernel", "stride"} of a convolution over time before the recurrent layers; a stride
            divides the number of steps. None for no convolution.
        dense: units of a layer with ReLU between the recurrent layers and the softmax; None for no such layer.
        dropout: probability of zeroing an element of the embeddings, between layers and of the sequence's vector.
        word_dropout: probability of replacing a token by the unknown token in training.
    """

    def __init__(
        self,
        inputs: Vocabulary | int,
        classes: Sequence[str],
        *,
        cell: str = CELLS[0],
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        pooling: str = "last",
        embedding: int | None = 100,
        convolution: Mapping[str, int] | None = None,
        dense: int | None = None,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        vectors: Any = None,
        frozen: bool = False,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"Expected pooling to be one of {', '.join(POOLINGS)}, got {pooling!r}")
        if word_dropout and (isinstance(inputs, int) or inputs.unknown is None):
            raise ValueError(
                "word_dropout replaces tokens by the unknown token: pass a vocabulary that has one, or word_dropout=0"
            )
        if isinstance(inputs, int) and (vectors is not None or frozen):
            raise ValueError("vectors and frozen need an embedding of tokens: pass a vocabulary as inputs")
        rows = None if vectors is None or isinstance(inputs, int) else given_vectors(inputs, vectors)
        embedding = embedding if rows is None else rows.size(1)
        self.inputs, self.classes, self.pooling, self.word_dropout = inputs, list(classes), pooling, word_dropout
        self._options = {
            "cell": cell,
            "hidden": hidden,
            "layers": layers,
            "bidirectional": bidirectional,
            "pooling": pooling,
            "embedding": embedding,
            "convolution": None if convolution is None else dict(convolution),
            "dense": dense,
            "dropout": dropout,
            "word_dropout": word_dropout,
            "frozen": frozen,
        }
        self.dropout = nn.Dropout(dropout)
        if isinstance(inputs, int):
            self.embedding, size = None, inputs
        else:
            self.embedding = None if embedding is None else nn.Embedding(len(inputs), embedding, _weight=rows)
            size = embedding or len(inputs)
            if frozen and self.embedding is not None:
                self.embedding.weight.requires_grad_(False)
        self.convolution = None if convolution is None else Convolution(size, **convolution)
        size = size if self.convolution is None else self.convolution.channels
        self.recurrent = Recurrent(cell, size, hidden, layers, bidirectional=bidirectional, dropout=dropout)
        size = self.recurrent.output_size
        self.dense = None if dense is None else nn.Sequential(nn.Linear(size, dense), nn.ReLU(), nn.Dropout(dropout))
        self.output = nn.Linear(dense or size, len(self.classes))

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits (B, K) of sequences (T, B) or (T, B, F)."""
        output = self._embedded(input)
        if self.convolution is not None:
            output, lengths = self.convolution(output, lengths)
        output, state = self.recurrent(self.dropout(output) if self.embedding is not None else output, lengths=lengths)
        vector = self.dropout(pooled(self.pooling, output, state, lengths, self.recurrent.bidirectional))
        return self.output(vector if self.dense is None else self.dense(vector))

    def _embedded(self, input: Tensor) -> Tensor:
        if isinstance(self.inputs, int):
            return input
        if self.training and self.word_dropout:
            assert self.inputs.unknown is not None  # checked in __init__
            hidden = torch.rand(input.shape, device=input.device) < self.word_dropout
            input = input.masked_fill(hidden, self.inputs.unknown)
        if self.embedding is None:
            return nn.functional.one_hot(input, len(self.inputs)).to(self.output.weight.dtype)
        return self.embedding(input)

    def loss(self, batch: Labelled, state: Any = None) -> Step:
        """The mean cross-entropy of the sequences, in nats."""
        return Step(cross_entropy(self(batch.input, batch.lengths), batch.target), len(batch.target))

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Labelled]) -> dict[str, float]:
        """The mean loss, and the accuracy: the share of sequences whose most probable class is the true one."""
        means = Means()
        for batch in batches:
            logits = self(batch.input, batch.lengths)
            right = (logits.argmax(1) == batch.target).float()
            means.add(len(right), loss=cross_entropy(logits, batch.target), accuracy=right.mean())
        return means.result()

    @torch.no_grad()
    def classify(self, sequence: str | Sequence[str] | Tensor) -> list[tuple[str, float]]:
        """All classes with their probabilities, the most probable first.

        Args:
            sequence: a text, or its tokens; for a model of numbers, a tensor (T, F).

        Raises:
            ValueError: the sequence is empty, or none of its tokens is known.
        """
        if isinstance(self.inputs, int):
            input = torch.as_tensor(sequence, dtype=self.output.weight.dtype)
            if input.dim() != 2 or input.shape[1] != self.inputs or not len(input):
                raise ValueError(
                    f"Expected a series (T, {self.inputs}) with at least one step, got {tuple(input.shape)}"
                )
        else:
            if isinstance(sequence, Tensor):
                raise TypeError("this model reads text: pass a str, or a list of tokens")
            ids = self.inputs.encode(sequence)
            if all(i == self.inputs.unknown for i in ids):
                raise ValueError(
                    f"none of the tokens of {sequence!r:.80} is in the vocabulary" if ids else "the text is empty"
                )
            input = torch.tensor(ids)
        was = self.training
        self.eval()
        try:
            chance = self(input.unsqueeze(1).to(self.output.weight.device)).softmax(1)[0].tolist()
        finally:
            self.train(was)
        return sorted(zip(self.classes, chance, strict=True), key=lambda pair: -pair[1])

    def config(self) -> dict[str, Any]:
        inputs = self.inputs if isinstance(self.inputs, int) else self.inputs.config()
        return {"inputs": inputs, "classes": self.classes, **self._options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Classifier:
        options = dict(config)
        inputs = options.pop("inputs")
        if not isinstance(inputs, int):
            inputs = Vocabulary.from_config(inputs)
        return cls(inputs, options.pop("classes"), **options)
