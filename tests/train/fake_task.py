"""A task for the tests of what all tasks share: the next letter of a row of letters in turn, learned in an instant."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fastrnn.train import models
from fastrnn.train.data import Window
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.loop.step import Step
from fastrnn.train.models.prediction import Predictor
from fastrnn.train.models.recurrent import Recurrent
from fastrnn.train.tasks import task
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Prepared


class Letters(Predictor, nn.Module):
    def __init__(self, vocabulary: Vocabulary, hidden: int, cell: str) -> None:
        super().__init__()
        self.vocabulary, self.hidden, self.cell = vocabulary, hidden, cell
        self.embedding = nn.Embedding(len(vocabulary), hidden)
        self.layers = Recurrent(cell, hidden, hidden)
        self.output = nn.Linear(hidden, len(vocabulary))

    def loss(self, batch: Window, state: Any = None) -> Step:
        output, state = self.layers(self.embedding(batch.input), state)
        logits = self.output(output).flatten(0, 1)
        return Step(nn.functional.cross_entropy(logits, batch.target.flatten()), batch.target.numel(), state)

    def begin(self, batch: int) -> Any:
        return None

    def advance(self, tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        output, state = self.layers(self.embedding(tokens[None]), state)
        return self.output(output[0]).log_softmax(1), state

    def select(self, state: Any, rows: torch.Tensor) -> Any:
        return tuple(part[:, rows] for part in state)

    def config(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary.config(), "hidden": self.hidden, "cell": self.cell}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Letters:
        return cls(**config | {"vocabulary": Vocabulary.from_config(config["vocabulary"])})


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    letters: str = setting("abcd", "The letters, in turn.")
    hidden: int = setting(8, "Hidden units.", least=1)
    epochs: int = setting(3, "Passes.", least=1)
    lr: float = setting(0.02, "Learning rate.", least=0)
    stateful: bool = setting(True, "Carry the state over.")


def prepare(settings: Settings) -> Prepared:
    letters = settings.letters if settings.data is None else Path(settings.data).read_text().strip()
    vocabulary = Vocabulary(sorted(set(letters)), tokenizer="characters", unknown=None)
    ids = torch.tensor(vocabulary.encode(letters * 30))
    part = [Window(ids[i : i + 8, None], ids[i + 1 : i + 9, None], i == 0) for i in range(0, len(ids) - 9, 8)]
    about = {"letters": str(len(letters))}
    return Prepared(Letters(vocabulary, settings.hidden, settings.cell), part, part[:4], part[:5], about=about)


def samples(model: Letters, prepared: Prepared) -> str:
    return f"`{model.complete(model.vocabulary.tokens[0], length=6, seed=0)}`"


def register(monkeypatch: pytest.MonkeyPatch, name: str = "letters") -> None:
    """Makes it a task and a model by name, until the test ends."""
    monkeypatch.setitem(task.TASKS, name, "Letters in turn.")
    monkeypatch.setitem(sys.modules, f"fastrnn.train.tasks.{name}", sys.modules[__name__])
    monkeypatch.setitem(sys.modules, f"fastrnn.train.models.{name}", sys.modules[__name__])
    monkeypatch.setitem(models.HOMES, "Letters", name)
