"""Sequence to sequence: an encoder reads all of the source, then a decoder writes the target.

Sutskever et al., 2014, "Sequence to sequence learning with neural networks"; Cho et al., 2014.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from fastrnn.nn.inputs import each
from fastrnn.train.data.batch import Pairs
from fastrnn.train.data.collating import lengths, padded
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.decoder import Context, Decoder, Tokens
from fastrnn.train.models.options import options_of
from fastrnn.train.models.prediction import predicting
from fastrnn.train.models.ragged import beyond, reversed_in_time
from fastrnn.train.models.recurrent import CELLS, Recurrent, State

BRIDGES = ("state", "repeat")


class EncoderDecoder(torch.nn.Module):
    """An encoder and a decoder, trained with teacher forcing.

    S and U steps, B sequences, V tokens in the target vocabulary.

    Args:
        source_vocabulary: of the source.
        target_vocabulary: of the target, with tokens for beginning and end: ``Vocabulary.build(…, bos=…, eos=…)``.
        cell: of both halves, as for :class:`fastrnn.train.models.recurrent.Recurrent`.
        hidden: units of each layer. A bidirectional encoder has half of them in each direction.
        layers: of each half.
        embedding: size of a token's embedding in both halves; None is one-hot.
        bidirectional: the encoder reads in both directions.
        attention: "dot" (Luong et al., 2015) or "additive" (Bahdanau et al., 2015): the decoder attends to all outputs
            of the encoder; None for no attention.
        bridge: what the encoder passes on. "state": its final state is the decoder's initial one, and the decoder reads
            the previous token (Sutskever et al., 2014). "repeat": the decoder reads its last output at every step
            instead of tokens (RepeatVector of Keras); a token then does not depend on the previous ones.
        reverse: read the source in reverse, so that its beginning is close to that of the target.
        dropout: probability of zeroing an element between layers in training.

    Call:
        ``logits = model(source, source_lengths, target)``: (S, B), (B,) and (U, B), int64, to (U, B, V): the logits of
        the token after each token of the target. Lengths may be in any order; padding is not read.

    Raises:
        ValueError: an argument is not one of the above.
    """

    def __init__(
        self,
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        *,
        cell: str = CELLS[0],
        hidden: int = 256,
        layers: int = 1,
        embedding: int | None = None,
        bidirectional: bool = False,
        attention: str | None = None,
        bridge: str = "state",
        reverse: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if bridge not in BRIDGES:
            raise ValueError(f"Expected bridge to be one of {', '.join(BRIDGES)}, got {bridge!r}")
        if bidirectional and hidden % 2:
            raise ValueError(
                f"Expected an even hidden for a bidirectional encoder, half for each direction, got {hidden}; "
                f"type hidden={hidden + 1}"
            )
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self._options = options_of(EncoderDecoder, locals())
        self.bridge, self.reverse = bridge, reverse
        self.input = Tokens(len(source_vocabulary), embedding)
        self.encoder = Recurrent(
            cell,
            self.input.size,
            hidden // 2 if bidirectional else hidden,
            layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.decoder = Decoder(
            target_vocabulary,
            cell=cell,
            hidden=hidden,
            layers=layers,
            embedding=embedding,
            dropout=dropout,
            attention=attention,
            repeat=hidden if bridge == "repeat" else 0,
        )

    def forward(self, source: Tensor, source_lengths: Tensor, target: Tensor) -> Tensor:
        return self.decoder(target, self.encode(source, source_lengths))[0]

    def encode(self, source: Tensor, source_lengths: Tensor) -> Context:
        """The context that the decoder starts from, for sources (S, B) int64 with lengths (B,)."""
        longest = int(source_lengths.max())
        source, ends = source[:longest], source_lengths.to(source.device)
        ragged = int(source_lengths.min()) < longest
        after = beyond(ends, longest) if ragged else None
        if after is not None:
            source = source.masked_fill(after, 0)
        if self.reverse:
            source = reversed_in_time(source, ends)
        output, state = self.encoder(self.input(source), lengths=source_lengths if ragged else None)
        if self.encoder.bidirectional:
            state = each(_side_by_side, state)
        return Context(
            state if self.bridge == "state" else None,
            _hidden(state)[-1] if self.bridge == "repeat" else None,
            output if self.decoder.attention is not None else None,
            after,
        )

    def loss(self, batch: Pairs, state: Any = None) -> Step:
        """The mean cross-entropy of the target's tokens, <eos> included."""
        return self.decoder.loss(batch.target, batch.target_lengths, self.encode(batch.source, batch.source_lengths))

    def evaluate(self, batches: Iterable[Pairs]) -> dict[str, float]:
        """Loss and accuracy of the tokens, given the true previous ones, and the share of targets that are exact when
        the model reads its own output: ``loss``, ``accuracy``, ``exact``. See Decoder.evaluate."""
        with predicting(self):
            return self.decoder.evaluate(
                (batch.target, batch.target_lengths, self.encode(batch.source, batch.source_lengths))
                for batch in batches
            )

    @overload
    def translate(self, text: str, *, beam: int | None = None, length: int | None = None) -> str: ...
    @overload
    def translate(self, text: list[str], *, beam: int | None = None, length: int | None = None) -> list[str]: ...
    def translate(self, text: Any, *, beam: int | None = None, length: int | None = None) -> Any:
        """The model's output for a text, or for each text of a list.

        Args:
            beam: width of a beam search; None takes the most likely token at each step (greedy).
            length: maximum number of tokens; by default twice the longest source plus ten.

        Raises:
            ValueError: a text is empty, or has a token that a vocabulary without an unknown token lacks.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if not texts:
            return []
        rows = [self.source_vocabulary.encode(each) for each in texts]
        if not all(rows):
            raise ValueError(f"Expected texts that are not empty, but text {rows.index([]) + 1} of {len(texts)} is")
        arrays = [np.asarray(row) for row in rows]
        source, ends = padded(arrays, 0).to(self.device), lengths(arrays)
        with predicting(self):
            written = self.decoder.write(
                self.encode(source, ends), len(rows), 2 * len(source) + 10 if length is None else length, beam
            )
        translations = [self.target_vocabulary.decode(row) for row in written]
        return translations[0] if isinstance(text, str) else translations

    @property
    def device(self) -> torch.device:
        return self.decoder.output.weight.device

    def config(self) -> dict[str, Any]:
        """JSON that :meth:`from_config` makes a model of this kind from."""
        return {
            "source_vocabulary": self.source_vocabulary.config(),
            "target_vocabulary": self.target_vocabulary.config(),
            **self._options,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EncoderDecoder:
        options = dict(config)
        vocabularies = [Vocabulary.from_config(options.pop(f"{name}_vocabulary")) for name in ("source", "target")]
        return cls(*vocabularies, **options)


def _side_by_side(state: Tensor) -> Tensor:
    """Joins both directions: (2 L, B, H) to (L, B, 2 H)."""
    return torch.cat([state[0::2], state[1::2]], -1)


def _hidden(state: State) -> Tensor:
    """h, the first part of an LSTM's state."""
    return state if isinstance(state, Tensor) else state[0]
