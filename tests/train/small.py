"""Small models and their batches, which the tests of the loop share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastrnn.train import Step
from fastrnn.train.data import Labelled, Window
from fastrnn.train.saving import report


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
    """Batches of text that counts up; the first and the third start without a state."""
    numbers = torch.arange(count * steps + 1)[:, None] + torch.arange(rows) * 2
    text = (numbers * numbers) % 7
    return [
        Window(text[i * steps : (i + 1) * steps], text[i * steps + 1 : (i + 1) * steps + 1], i in (0, 2))
        for i in range(count)
    ]


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class Lengths(nn.Module):
    """Classifies ragged sequences in float64: the mean of what it reads, up to each one's length."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.double()

    def loss(self, batch: Labelled, state: Any = None) -> Step:
        assert batch.lengths is not None
        there = torch.arange(len(batch.input))[:, None] < batch.lengths
        logits = (self.embedding(batch.input) * there[..., None]).sum(0) / batch.lengths[:, None]
        return Step(nn.functional.cross_entropy(logits, batch.target), len(batch.target))


def words() -> list[Labelled]:
    """Batches of 5, 1 and 4 sequences."""
    shapes = ((6, 5), (3, 1), (4, 4))
    return [
        Labelled(
            torch.arange(steps * rows).reshape(steps, rows) % 7, torch.arange(rows) % steps + 1, torch.arange(rows) % 3
        )
        for steps, rows in shapes
    ]


def rows_of(*sizes: int) -> list[Tensor]:
    """Batches of some rows of three numbers."""
    return [torch.arange(size * 3, dtype=torch.float64).reshape(size, 3) / 10 - size / 7 for size in sizes]


def squares(model: nn.Module, batch: Tensor, state: Any) -> Step:
    return Step(model(batch).pow(2).mean(), len(batch))


@contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without what takes longer than these trainings: curves, and waiting for the disc."""
    monkeypatch.setattr(report, "draw", lambda file, history: False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    yield
