"""A recurrent language model: words in, recurrent layers, a softmax over the next word.

With ``cell="rnn_sigmoid", one_hot=True`` it is the network of Elman, 1990 and Mikolov et al., 2010; with two layers of
LSTM that of Zaremba et al., 2014; with tied weights, locked dropout, weight drop and the two penalties AWD-LSTM (Merity
et al., 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import AdaptiveLogSoftmaxWithLoss, Linear
from torch.nn.functional import cross_entropy, dropout

from fastrnn.functional import linear_cross_entropy
from fastrnn.nn.inputs import each
from fastrnn.nn.sizes import checked_sizes
from fastrnn.train.data.batch import Window
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.prediction import Predictor, predicting
from fastrnn.train.models.recurrent import CELLS, Recurrent, State, gate_rows, locked, three_rates
from fastrnn.train.models.word_input import Embedding, given_vectors, identity_input


class LanguageModel(Predictor, torch.nn.Module):
    """Predicts each token of a text from all previous tokens.

    T steps, B texts in parallel, V tokens in the vocabulary, E = ``embedding``, H = ``hidden``, of the last layer where
    that is a list.

    Args:
        vocabulary: the tokens; a text is read after its ``bos``, or else ``eos``.
        cell, hidden, layers, weight_drop: of the recurrent layers; see :class:`Recurrent`.
        embedding: E, the size of a token's embedding.
        dropout: probability of zeroing an element of the input of each layer and of the output in training: all
            connections but the recurrent ones (Zaremba et al., 2014).
        locked_dropout: dropout with one mask for all steps of a window; three numbers are for the input, between the
            layers and for the output.
        embedding_dropout: probability of zeroing a token's embedding in a whole batch in training.
        tied: the embedding is also the matrix of the softmax (Press & Wolf, 2017). If H is not E, a linear map from H
            to E precedes it.
        softmax: "full", or "adaptive": ``torch.nn.AdaptiveLogSoftmaxWithLoss``, which needs frequent tokens first in
            the vocabulary, as :meth:`Vocabulary.build` orders them.
        cutoffs: first token of each cluster of the adaptive softmax; by default V / 10 and V / 3.
        one_hot: feed tokens to the first layer as one-hot vectors. Row i of ``embedding.weight`` (V, G H) is then the
            column of the first layer's W_ih that token i selects, so the product is a lookup. Of the dropouts of the
            input only ``embedding_dropout`` applies.
        vectors: initial rows of the embedding: a Word2Vec, its vectors, or a matrix (V, E), which determines E.
        frozen: do not train the ``vectors``.
        init_uniform: initialise all weights from U(-u, u), as Zaremba et al. do with 0.1. By default recurrent weights
            are as in torch.nn, embedding and softmax are drawn from U(-0.1, 0.1), and the softmax's bias is 0.
        activation_penalty, temporal_penalty: weights in the training loss of the mean square of the output after
            dropout, and of its change from step to step before dropout (alpha and beta of Merity et al., 2018).

    Raises:
        ValueError: options exclude each other or are out of range.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cell: str = CELLS[0],
        embedding: int = 200,
        hidden: int | Sequence[int] = 200,
        layers: int = 2,
        dropout: float = 0.0,
        locked_dropout: float | tuple[float, float, float] = 0.0,
        embedding_dropout: float = 0.0,
        weight_drop: float = 0.0,
        tied: bool = False,
        softmax: str = "full",
        cutoffs: Sequence[int] | None = None,
        one_hot: bool = False,
        vectors: Any = None,
        frozen: bool = False,
        init_uniform: float | None = None,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
    ) -> None:
        super().__init__()
        if softmax not in ("full", "adaptive"):
            raise ValueError(f"Expected softmax to be full or adaptive, got {softmax!r}")
        if tied and (one_hot or softmax == "adaptive"):
            raise ValueError(
                "tied=True needs an embedding and the full softmax: remove one_hot and adaptive softmax, or tied"
            )
        if frozen and vectors is None:
            raise ValueError("frozen=True needs vectors=, which it keeps unchanged; got none")
        if one_hot and vectors is not None:
            raise ValueError("vectors= and one_hot=True exclude each other, got both")
        rows = None if vectors is None else given_vectors(vocabulary, vectors)
        embedding = embedding if rows is None else rows.size(1)
        self.vocabulary = vocabulary
        rates = three_rates(locked_dropout)
        of_layers: Any = checked_sizes(hidden, layers) or (hidden,)
        first, last = of_layers[0], of_layers[-1]
        self._options = {
            "cell": cell,
            "embedding": embedding,
            "hidden": hidden if isinstance(hidden, int) else list(hidden),
            "layers": layers,
            "dropout": dropout,
            "locked_dropout": list(rates),
            "embedding_dropout": embedding_dropout,
            "weight_drop": weight_drop,
            "tied": tied,
            "softmax": softmax,
            "cutoffs": cutoffs and list(cutoffs),
            "one_hot": one_hot,
            "frozen": frozen,
            "activation_penalty": activation_penalty,
            "temporal_penalty": temporal_penalty,
        }
        self.dropout, self.input_dropout, self.output_locked_dropout = dropout, 0.0 if one_hot else dropout, rates[2]
        self.activation_penalty, self.temporal_penalty = activation_penalty, temporal_penalty
        inputs = gate_rows(cell, first) if one_hot else embedding
        self.embedding = Embedding(len(vocabulary), inputs, embedding_dropout)
        # Dropout of the output is here and not in the layers, since the penalties need the output before and after it.
        locked_layers = (0.0 if one_hot else rates[0], rates[1], 0.0)
        self.recurrent = Recurrent(
            cell, inputs, hidden, layers, dropout=dropout, locked_dropout=locked_layers, weight_drop=weight_drop
        )
        self.projection = Linear(last, embedding) if tied and last != embedding else torch.nn.Identity()
        self.output = _output(embedding if tied else last, len(vocabulary), softmax, cutoffs)
        self._initialise(init_uniform)
        if one_hot:
            identity_input(self.recurrent.layers)
        if rows is not None:
            self.embedding.weight.data.copy_(rows)
        self.embedding.weight.requires_grad_(not frozen)
        if tied:
            self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Reads tokens (T, B) from a state; returns the logits (T, B, V) of the token after each, and the new state.

        The logits of the adaptive softmax are log-probabilities.
        """
        _, output, state = self._read(tokens, state)
        features = self.projection(output)
        if isinstance(self.output, AdaptiveLogSoftmaxWithLoss):
            return self.output.log_prob(features.flatten(0, 1)).view(*tokens.shape, -1), state
        return self.output(features), state

    def loss(self, batch: Window, state: State | None = None) -> Step:
        """The mean cross-entropy over the T B tokens of a window in nats, with the penalties in training."""
        raw, output, state = self._read(batch.input, state)
        features, target = self.projection(output).flatten(0, 1), batch.target.to(output.device).flatten()
        loss = _cross_entropy(self.output, features, target)
        if self.training and self.activation_penalty:
            loss = loss + self.activation_penalty * output.square().mean()
        if self.training and self.temporal_penalty and len(raw) > 1:
            loss = loss + self.temporal_penalty * raw.diff(dim=0).square().mean()
        return Step(loss, batch.target.numel(), state)

    def evaluate(self, batches: Iterable[Window]) -> dict[str, float]:
        """The mean loss in nats and its exp, the perplexity, over windows, with the state carried from window to
        window.

        For characters also ``bits_per_character``. Raises ValueError if there are no windows.
        """
        total, items, state = 0.0, 0, None
        with predicting(self):
            for batch in batches:
                step = self.loss(batch, None if batch.first else state)
                total, items, state = total + float(step.loss) * step.items, items + step.items, step.state
        if not items:
            raise ValueError(
                "there are no batches to evaluate on. An iterator can be read only once; pass a list or a DataLoader"
            )
        loss = total / items
        found = {"loss": loss, "perplexity": math.inf if loss > 700 else math.exp(loss)}
        if self.vocabulary.tokenizer == "characters":
            found["bits_per_character"] = loss / math.log(2)
        return found

    def begin(self, batch: int) -> State | None:
        return None  # zeros for any number of rows

    def advance(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        log_probabilities, state = self.read(tokens[None], state)
        return log_probabilities[0], state

    def read(self, tokens: Tensor, state: State | None) -> tuple[Tensor, State]:
        logits, state = self(tokens, state)
        return logits.float().log_softmax(-1), state

    def select(self, state: State | None, rows: Tensor) -> State | None:
        return each(lambda part: part.index_select(1, rows.to(part.device)), state)

    def config(self) -> dict[str, Any]:
        """JSON that :meth:`from_config` creates a model of the same shape from."""
        return {"vocabulary": self.vocabulary.config(), **self._options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LanguageModel:
        options = dict(config)
        frozen = options.pop("frozen")  # the loaded weights include the vectors
        model = cls(Vocabulary.from_config(options.pop("vocabulary")), **options)
        model.embedding.weight.requires_grad_(not frozen)
        model._options["frozen"] = frozen
        return model

    def _read(self, tokens: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """The last layer's output (T, B, H) before and after dropout, and the state."""
        embedded = self.embedding(tokens.to(self.embedding.weight.device))
        raw, state = self.recurrent(dropout(embedded, self.input_dropout, self.training), state)
        output = dropout(locked(raw, self.output_locked_dropout, self.training), self.dropout, self.training)
        return raw, output, state

    def _initialise(self, bound: float | None) -> None:
        with torch.no_grad():
            if bound is not None:
                for parameter in self.parameters():
                    parameter.uniform_(-bound, bound)
                return
            self.embedding.weight.uniform_(-0.1, 0.1)
            if isinstance(self.output, Linear):
                self.output.weight.uniform_(-0.1, 0.1)
                self.output.bias.zero_()


def _output(features: int, words: int, softmax: str, cutoffs: Sequence[int] | None) -> Any:
    if softmax == "full":
        return Linear(features, words)
    cutoffs = list(cutoffs or (max(1, words // 10), max(2, words // 3)))
    if features < 4 ** len(cutoffs):
        raise ValueError(
            f"Expected hidden to be at least {4 ** len(cutoffs)} for an adaptive softmax with {len(cutoffs)} cutoffs, "
            f"since each cluster has a quarter of the previous cluster's features, got {features}; use fewer cutoffs"
        )
    return AdaptiveLogSoftmaxWithLoss(features, words, cutoffs)


def _cross_entropy(output: Any, input: Tensor, target: Tensor) -> Tensor:
    """The mean over the rows (N, H)."""
    if isinstance(output, AdaptiveLogSoftmaxWithLoss):
        return output(input, target).loss
    if type(output) is not Linear:  # replaced by a module of the user
        return cross_entropy(output(input), target)
    return linear_cross_entropy(input, output.weight, target, linear_bias=output.bias)
