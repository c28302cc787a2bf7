"""Training by truncated back-propagation through time: the state crosses from window to window, no gradient does."""

import copy
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import fastrnn
from fastrnn.demo.model import CharacterModel, State
from fastrnn.demo.text import Text, streams

BATCH = 32
WINDOW = 64  # characters that a gradient reaches back
LEARNING_RATE = 4e-3
CLIP = 1.0  # the largest norm of the gradient


class Step(NamedTuple):
    """What one training step left: its number, loss in nats a character, and seconds."""

    number: int
    loss: float
    seconds: float


def windows(text: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields inputs and targets (WINDOW, BATCH), the target being the next character of the same row."""
    rows = streams(text, BATCH)
    for start in range(0, len(rows) - WINDOW, WINDOW):
        yield rows[start : start + WINDOW], rows[start + 1 : start + WINDOW + 1]


def loss_of(model: CharacterModel, input: Tensor, target: Tensor, state: State | None) -> tuple[Tensor, State]:
    logits, state = model(input, state)
    return cross_entropy(logits.flatten(0, 1), target.flatten()), state


class Trainer:
    """Adam, with a learning rate that falls to zero along half a cosine."""

    def __init__(self, model: CharacterModel, steps: int) -> None:
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)

    def step(self, input: Tensor, target: Tensor, state: State | None) -> tuple[float, State]:
        """Learns from one window; returns its loss and the state at its end, cut from the graph."""
        self.optimizer.zero_grad()
        loss, state = loss_of(self.model, input, target, state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach()), (state[0].detach(), state[1].detach())


def train(model: CharacterModel, text: Text, epochs: int) -> Iterator[Step]:
    """Trains for some passes over the text; yields every step."""
    per_epoch = len(list(windows(text.train)))
    trainer = Trainer(model, epochs * per_epoch)
    number = 0
    for _ in range(epochs):
        state = None
        for input, target in windows(text.train):
            start = time.perf_counter()
            loss, state = trainer.step(input, target, state)
            number += 1
            yield Step(number, loss, time.perf_counter() - start)


@torch.inference_mode()
def validation_loss(model: CharacterModel, text: Text) -> float:
    """The mean loss over the validation text, in nats a character."""
    losses, state = [], None
    for input, target in windows(text.validation):
        loss, state = loss_of(model, input, target, state)
        losses.append(loss)
    return float(torch.stack(losses).mean())


def seconds_per_step(model: CharacterModel, text: Text, rounds: int = 8) -> dict[str, float]:
    """Measures one training step with fastrnn's LSTM and with torch.nn's, in turns: the least of the rounds."""
    input, target = next(windows(text.train))
    own, theirs = copy.deepcopy(model), copy.deepcopy(model)
    fastrnn.to_torch(theirs)
    trainers = {"fastrnn": Trainer(own, rounds), "torch": Trainer(theirs, rounds)}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(rounds):
        for name, trainer in trainers.items():
            trainer.step(input, target, None)  # brings its weights into the cache
            start = time.perf_counter()
            trainer.step(input, target, None)
            seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}
