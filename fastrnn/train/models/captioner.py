"""Pictures or vectors to sequences: an encoder of any kind makes one vector, from which a decoder writes.

Vinyals et al., 2015, "Show and tell: a neural image caption generator".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from fastrnn import reference
from fastrnn.train.data.batch import Captioned
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.decoder import Context, Decoder
from fastrnn.train.models.encoders import ENCODERS
from fastrnn.train.models.options import options_of
from fastrnn.train.models.prediction import predicting
from fastrnn.train.models.recurrent import CELLS

BRIDGES = ("state", "repeat")


class Captioner(torch.nn.Module):
    """An encoder, which may be any module, and a recurrent decoder, trained together.

    B pictures or vectors, U tokens, V tokens in the vocabulary, E features.

    Args:
        vocabulary: of the output, with tokens for beginning and end: ``Vocabulary.build(…, bos=…, eos=…)``.
        encoder: a module that returns (B, E) and has E as ``output_size``: ConvolutionalEncoder or DenseEncoder of
            :mod:`fastrnn.train.models.encoders`, or your own.
        cell: as for :class:`fastrnn.train.models.recurrent.Recurrent`.
        hidden: units of each layer.
        layers: of the decoder.
        embedding: size of a token's embedding; None is one-hot.
        bridge: "state": a linear map of the features is the initial c of every layer, and its tanh the initial h.
            "repeat": the decoder reads the features at every step instead of the previous token.
        dropout: probability of zeroing an element between layers in training.

    Call:
        ``logits = model(input, target)``: the input of the encoder, and (U, B) int64, to (U, B, V): the logits of the
        token after each token of the target.

    Raises:
        ValueError: an argument is not one of the above.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        encoder: Any,
        *,
        cell: str = CELLS[0],
        hidden: int = 128,
        layers: int = 1,
        embedding: int | None = None,
        bridge: str = "state",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if bridge not in BRIDGES:
            raise ValueError(f"Expected bridge to be one of {', '.join(BRIDGES)}, got {bridge!r}")
        if not isinstance(getattr(encoder, "output_size", None), int):
            raise ValueError(
                f"Expected encoder to have an attribute output_size, since it returns features (B, output_size); "
                f"{type(encoder).__name__} has none. Type: encoder.output_size = …"
            )
        self.vocabulary, self.encoder, self.bridge = vocabulary, encoder, bridge
        self._options = options_of(Captioner, locals())
        self.decoder = Decoder(
            vocabulary,
            cell=cell,
            hidden=hidden,
            layers=layers,
            embedding=embedding,
            dropout=dropout,
            repeat=encoder.output_size if bridge == "repeat" else 0,
        )
        self.start = torch.nn.Linear(encoder.output_size, layers * hidden) if bridge == "state" else None

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.decoder(target, self.encode(input))[0]

    def encode(self, input: Tensor) -> Context:
        """The context that the decoder starts from."""
        features = self.encoder(input)
        if self.start is None:
            return Context(summary=features)
        recurrent = self.decoder.recurrent
        c = self.start(features).unflatten(1, (recurrent.num_layers, -1)).transpose(0, 1).contiguous()
        return Context((c.tanh(), c) if reference.CELLS[recurrent.cell].carries_c else c.tanh())

    def loss(self, batch: Captioned, state: Any = None) -> Step:
        """The mean cross-entropy of the captions' tokens, <eos> included."""
        return self.decoder.loss(batch.target, batch.target_lengths, self.encode(batch.input))

    def evaluate(self, batches: Iterable[Captioned]) -> dict[str, float]:
        """Loss and accuracy of the tokens, given the true previous ones, and the share of captions that are exact when
        the model reads its own output: ``loss``, ``accuracy``, ``exact``. See Decoder.evaluate."""
        with predicting(self):
            return self.decoder.evaluate(
                (batch.target, batch.target_lengths, self.encode(batch.input)) for batch in batches
            )

    def caption(self, picture: Any, *, beam: int | None = None, length: int = 50) -> Any:
        """The caption of a picture (C, H, W) or a vector (F,), a str; or those of a batch, a list.

        Args:
            picture: a tensor or an array.
            beam: width of a beam search; None takes the most likely token at each step (greedy).
            length: maximum number of tokens.
        """
        weight = self.decoder.output.weight
        given = torch.as_tensor(picture).to(weight.device, weight.dtype)
        single = given.dim() in (1, 3)
        batch = given.unsqueeze(0) if single else given
        with predicting(self):
            written = self.decoder.write(self.encode(batch), len(batch), length, beam)
        captions = [self.vocabulary.decode(row) for row in written]
        return captions[0] if single else captions

    def config(self) -> dict[str, Any] | None:
        """JSON that :meth:`from_config` makes a model of this kind from.

        None with your own encoder, since loading a model runs no code but this package's. Then create the model and
        call ``load(file, into=model)``.
        """
        name = type(self.encoder).__name__
        if ENCODERS.get(name) is not type(self.encoder):
            return None
        encoder = {"class": name, **self.encoder.config()}
        return {"vocabulary": self.vocabulary.config(), "encoder": encoder, **self._options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Captioner:
        options = dict(config)
        vocabulary, encoder = Vocabulary.from_config(options.pop("vocabulary")), dict(options.pop("encoder"))
        name = encoder.pop("class")
        if name not in ENCODERS:
            raise ValueError(f"Expected encoder to be one of {', '.join(ENCODERS)}, got {name!r}")
        return cls(vocabulary, ENCODERS[name](**encoder), **options)
