"""The decoder: a recurrent network that writes one token after another, given the output of an encoder.

In training it reads the true previous tokens (teacher forcing), so its layers run all steps at once. In use it reads
its own output: the most likely token at each step, or the best sequences of a beam search.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fastrnn.functional import linear_cross_entropy
from fastrnn.nn.inputs import each
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.attention import Attention
from fastrnn.train.models.beam_search import beam_search
from fastrnn.train.models.ragged import beyond
from fastrnn.train.models.recurrent import Recurrent, State

NO_TARGET = -100  # cross-entropy ignores places with this target


class Context(NamedTuple):
    """The state of decoding: at first the output of an encoder, then advanced by each token.

    Attributes:
        state: of the decoder's layers; None is zeros.
        summary: (B, E), the input of every step instead of tokens, with the bridge "repeat".
        memory: (S, B, H), the memory of attention.
        beyond: (S, B) bool, the places of the memory after the end of a sequence; None if all have the same length.
    """

    state: State | None = None
    summary: Tensor | None = None
    memory: Tensor | None = None
    beyond: Tensor | None = None

    def select(self, rows: Tensor) -> Context:
        """Some sequences of the batch, in this order; a sequence may be repeated."""
        return Context(
            each(lambda part: part.index_select(1, rows), self.state),
            None if self.summary is None else self.summary.index_select(0, rows),
            None if self.memory is None else self.memory.index_select(1, rows),
            None if self.beyond is None else self.beyond.index_select(1, rows),
        )


class Decoder(torch.nn.Module):
    """Recurrent layers that write sequences of tokens.

    U tokens, B sequences, H = ``hidden``, V tokens in the vocabulary.

    Args:
        vocabulary: with tokens for the beginning and the end of a sequence.
        embedding: size of a token's embedding; None is one-hot.
        repeat: size of the summary that every step reads instead of the previous token; 0 reads tokens.
        attention: "dot", "additive" or None.

    Call:
        ``logits, context = decoder(tokens, context)``: tokens (U, B) int64, read in order; logits (U, B, V) of the
        token after each of them.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        cell: str,
        hidden: int,
        layers: int = 1,
        embedding: int | None = None,
        dropout: float = 0.0,
        attention: str | None = None,
        repeat: int = 0,
    ) -> None:
        super().__init__()
        if vocabulary.bos is None or vocabulary.eos is None:
            raise ValueError(
                f"The target vocabulary lacks {'bos' if vocabulary.bos is None else 'eos'}, the token that "
                f"{'begins' if vocabulary.bos is None else 'ends'} a sequence. "
                'Type: Vocabulary.build(…, bos="<bos>", eos="<eos>")'
            )
        self.vocabulary, self.bos, self.eos = vocabulary, vocabulary.bos, vocabulary.eos
        self.input = None if repeat else Tokens(len(vocabulary), embedding)
        size = repeat if self.input is None else self.input.size
        self.recurrent = Recurrent(cell, size, hidden, layers, dropout=dropout)
        self.attention = Attention(hidden, attention) if attention else None
        self.output = torch.nn.Linear(hidden, len(vocabulary))

    def forward(self, tokens: Tensor, context: Context) -> tuple[Tensor, Context]:
        features, context = self.features(tokens, context)
        return self.output(features), context

    def features(self, tokens: Tensor, context: Context) -> tuple[Tensor, Context]:
        """The input of the output layer (U, B, H), and the new context."""
        if self.input is None:
            assert context.summary is not None
            input = context.summary.expand(tokens.size(0), -1, -1)
        else:
            input = self.input(tokens)
        features, state = self.recurrent(input, context.state)
        if self.attention is not None:
            assert context.memory is not None
            features = self.attention(features, context.memory, context.beyond)
        return features, context._replace(state=state)

    def loss(self, target: Tensor, lengths: Tensor, context: Context) -> Step:
        """The mean cross-entropy of the tokens after <bos>, <eos> included.

        Args:
            target: (U, B), from <bos> to <eos>; padding is not read.
            lengths: (B,), with <bos> and <eos>.
        """
        read, wanted = teacher_forced(target, lengths)
        features, _ = self.features(read, context)
        loss = linear_cross_entropy(
            features.flatten(0, 1),
            self.output.weight,
            wanted.flatten(),
            linear_bias=self.output.bias,
            ignore_index=NO_TARGET,
        )
        return Step(loss, int(lengths.sum()) - len(lengths))

    def advance(self, tokens: Tensor, context: Context) -> tuple[Tensor, Context]:
        """Reads a token (B,) of each sequence; returns log-probabilities (B, V) of the next and the new context."""
        logits, context = self(tokens.unsqueeze(0), context)
        return logits[0].log_softmax(-1), context

    def write(self, context: Context, batch: int, length: int, beam: int | None = None) -> list[list[int]]:
        """Sequences of at most ``length`` tokens, without <bos> and <eos>, by beam search; None or 1 is greedy."""
        if length < 1:
            raise ValueError(f"Expected a length of at least 1 token, got {length}")
        if beam is None or beam == 1:
            return self.greedy(context, batch, length)
        return self.best(context, batch, length, beam)

    @torch.no_grad()
    def greedy(self, context: Context, batch: int, length: int) -> list[list[int]]:
        """The most likely token at each step, until <eos>, which is removed, or ``length`` tokens."""
        tokens = torch.full((batch,), self.bos, device=self.output.weight.device)
        ended, written = torch.zeros_like(tokens, dtype=torch.bool), []
        for _ in range(length):
            log_probabilities, context = self.advance(tokens, context)
            tokens = log_probabilities.argmax(-1)
            written.append(tokens)
            ended |= tokens == self.eos
            if ended.all():
                break
        rows = torch.stack(written, 1).tolist() if written else [[]] * batch
        return [row[: row.index(self.eos)] if self.eos in row else row for row in rows]

    @torch.no_grad()
    def best(self, context: Context, batch: int, length: int, beam: int) -> list[list[int]]:
        """The best sequence of a beam search, by the mean log-probability of its tokens."""
        device = self.output.weight.device
        found = beam_search(
            lambda tokens, context: self.advance(tokens.to(device), context),
            lambda context, rows: context.select(rows.to(device)),
            context,
            torch.full((batch,), self.bos),
            width=beam,
            length=length,
            eos=self.eos,
        )
        return [hypotheses[0].tokens for hypotheses in found]

    @torch.no_grad()
    def evaluate(self, batches: Iterable[tuple[Tensor, Tensor, Context]]) -> dict[str, float]:
        """Measures (target, lengths, context) of each batch.

        Returns:
            ``loss``: the mean cross-entropy of the tokens after <bos>, given the true previous ones.
            ``accuracy``: the share of these tokens that the model ranks first, given the true previous ones.
            ``exact``: the share of sequences that are entirely right when the decoder reads its own output (greedy).
        """
        loss = right = exact = tokens = sequences = 0.0
        for target, lengths, context in batches:
            read, wanted = teacher_forced(target, lengths)
            logits, _ = self(read, context)
            loss += cross_entropy(
                logits.flatten(0, 1).double(), wanted.flatten(), ignore_index=NO_TARGET, reduction="sum"
            ).item()
            right += (logits.argmax(-1) == wanted).sum().item()
            tokens += (wanted != NO_TARGET).sum().item()
            written = self.greedy(context, len(lengths), target.size(0) - 1)
            columns = zip(target.T.tolist(), lengths.tolist(), strict=True)
            exact += sum(row == column[1 : length - 1] for row, (column, length) in zip(written, columns, strict=True))
            sequences += len(written)
        if not sequences:
            raise ValueError(
                "there are no batches to evaluate on. An iterator can be read only once; pass a list or a DataLoader"
            )
        return {"loss": loss / tokens, "accuracy": right / tokens, "exact": exact / sequences}


class Tokens(torch.nn.Module):
    """The vectors of tokens: embeddings, or one-hot. (T, B) int64 to (T, B, ``size``)."""

    zero: Tensor

    def __init__(self, tokens: int, embedding: int | None) -> None:
        super().__init__()
        if embedding is not None and embedding < 1:
            raise ValueError(f"Expected embedding to be at least 1, or None for one-hot, got {embedding}")
        self.count, self.size = tokens, embedding or tokens
        self.embedding = torch.nn.Embedding(tokens, embedding) if embedding else None
        self.register_buffer("zero", torch.zeros(()), persistent=False)  # carries the device and dtype of the model

    def forward(self, tokens: Tensor) -> Tensor:
        if self.embedding is not None:
            return self.embedding(tokens)
        return self.zero.new_zeros(*tokens.shape, self.count).scatter_(-1, tokens.unsqueeze(-1), 1.0)


def teacher_forced(target: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens to read (U - 1, B) and the targets after each, -100 beyond the end."""
    after = beyond(lengths.to(target.device), target.size(0))[1:]
    return target[:-1].masked_fill(after, 0), target[1:].masked_fill(after, NO_TARGET)
