"""A small model and its batches, which the tests of the loop share."""

from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.train import Step
from fastrnn.train.data import Window


class Counter(nn.Module):
    """A small language model over 7 tokens, in float64."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.lstm = nn.LSTM(4, 5)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(5, 7)
        self.double()

    def loss(self, batch: Window, state: Any = None) -> Step:
        output, state = self.lstm(self.embedding(batch.input), state)
        logits = self.linear(self.dropout(output)).flatten(0, 1)
        return Step(nn.functional.cross_entropy(logits, batch.target.flatten()), batch.target.numel(), state)


def windows(count: int, steps: int = 6, rows: int = 3) -> list[Window]:
    """Batches of text that counts up; the first of them, and the third, begin anew."""
    numbers = torch.arange(count * steps + 1)[:, None] + torch.arange(rows) * 2
    text = (numbers * numbers) % 7
    return [
        Window(text[i * steps : (i + 1) * steps], text[i * steps + 1 : (i + 1) * steps + 1], i in (0, 2))
        for i in range(count)
    ]


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
