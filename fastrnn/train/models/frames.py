"""Polyphonic music as frames: which of 88 keys sound at each step, given all previous steps.

Each key is a sigmoid output, so the keys of a frame are independent given the past, as in the plain RNN of
Boulanger-Lewandowski, Bengio and Vincent (2012, arXiv:1206.6392).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, pad

from fastrnn.train.data.batch import Tagged
from fastrnn.train.loop.step import Step
from fastrnn.train.models.means import Means
from fastrnn.train.models.options import options_of
from fastrnn.train.models.pooling import beyond
from fastrnn.train.models.recurrent import CELLS, Recurrent

KEYS = 88  # keys of a piano, from A0


class FrameModel(nn.Module):
    """Predicts the logit of each key in the next frame: recurrent layers over frames (T, B, K) of zeros and ones.

    Args:
        keys: keys of a frame, K.
        cell, hidden, layers: the recurrent layers; see :class:`Recurrent`.
        dropout: probability of zeroing an element between layers and of the last layer's output.
        input_dropout: probability of silencing an input key in training.
    """

    def __init__(
        self,
        keys: int = KEYS,
        *,
        cell: str = CELLS[0],
        hidden: int = 200,
        layers: int = 1,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ):
        super().__init__()
        self.keys = keys
        self._options = options_of(FrameModel, locals())
        self.input_dropout, self.dropout = nn.Dropout(input_dropout), nn.Dropout(dropout)
        self.recurrent = Recurrent(cell, keys, hidden, layers, dropout=dropout)
        self.output = nn.Linear(self.recurrent.output_size, keys)

    def forward(self, input: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """The logits (T, B, K) of the frame after each of ``input``, and the final state."""
        output, state = self.recurrent(self.input_dropout(input), state, lengths)
        return self.output(self.dropout(output)), state

    def loss(self, batch: Tagged, state: Any = None) -> Step:
        """The negative log-likelihood of a frame: the sum over its keys, the mean over the frames of all sequences."""
        logits, state = self(batch.input, state, batch.lengths)
        target, items = batch.target, logits[..., 0].numel()
        if batch.lengths is not None:
            padding = beyond(len(logits), batch.lengths, logits.device).unsqueeze(2)
            # Padding becomes silent keys with certainty: likelihood 1, gradient 0.
            logits, target = logits.masked_fill(padding, -1e4), target.masked_fill(padding, 0)
            items = int(batch.lengths.sum())
        return Step(binary_cross_entropy_with_logits(logits, target, reduction="sum") / items, items, state)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Tagged]) -> dict[str, float]:
        """The loss in nats per frame, and the accuracy of the paper, TP / (TP + FP + FN) of the keys."""
        means = Means()
        right = wrong = 0
        for batch in batches:
            step = self.loss(batch)
            means.add(step.items, loss=step.loss)
            predicted, true = self(batch.input, lengths=batch.lengths)[0] > 0, batch.target > 0.5
            if batch.lengths is not None:
                real = ~beyond(len(true), batch.lengths, true.device).unsqueeze(2)
                predicted, true = predicted & real, true & real
            right += int((predicted & true).sum())
            wrong += int((predicted ^ true).sum())
        return {**means.result(), "accuracy": right / max(right + wrong, 1)}

    @torch.no_grad()
    def compose(
        self, length: int, *, seed: int | None = None, prompt: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        """A piano roll (length, K) of zeros and ones, drawn frame by frame.

        Args:
            length: the number of frames to draw.
            seed: of the draws; None for other music each time.
            prompt: frames (T, K) to continue. The result does not include them.
            temperature: below 1 what is probable becomes more so.
        """
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        weight = self.output.weight
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        past = torch.zeros(0, self.keys) if prompt is None else prompt.float().cpu()
        if past.dim() != 2 or past.shape[1] != self.keys:
            raise ValueError(f"expected a prompt of frames (T, {self.keys}), got {tuple(past.shape)}")
        was = self.training
        self.eval()
        try:
            logits, state = self(silence_first(past.unsqueeze(1), whole=True).to(weight))
            roll = []
            for _ in range(length):
                chance = torch.sigmoid(logits[-1, 0].float() / temperature).cpu()
                roll.append(torch.bernoulli(chance, generator=generator))
                logits, state = self(roll[-1].view(1, 1, -1).to(weight), state)
        finally:
            self.train(was)
        return torch.stack(roll) if roll else torch.zeros(0, self.keys)

    def config(self) -> dict[str, Any]:
        return {"keys": self.keys, **self._options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FrameModel:
        return cls(**config)


def silence_first(frames: Tensor, whole: bool = False) -> Tensor:
    """What the model reads to predict frames (T, B, K): an empty frame, then all of them but the last, or all."""
    return pad(frames if whole else frames[:-1], (0, 0, 0, 0, 1, 0))
