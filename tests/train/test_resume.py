"""A training that was stopped and resumed ends with the same bits as one that was not."""

import os
import random
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fastrnn.train import Result, Step, fit, load
from fastrnn.train.data import Window
from tests.train.small import Counter, quick, squares, weights, windows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


class Noisy(Dataset[Tensor]):
    """Items with noise from all three generators, as datasets that augment have it."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(3) + np.random.rand() + random.random() + index / 10  # noqa: NPY002


class Measured(Counter):
    """A model with given validation losses, which notes its weights before each step, and may be interrupted."""

    def __init__(self, losses: list[float], stop: int | None = None) -> None:
        super().__init__()
        self.losses = iter(losses)
        self.steps: list[Tensor] = []
        self.stop = stop

    def loss(self, batch: Window, state: Any = None) -> Step:
        self.steps.append(weights(self))
        if len(self.steps) == self.stop:
            os.kill(os.getpid(), signal.SIGINT)
        return super().loss(batch, state)

    def evaluate(self, batches: Any) -> dict[str, float]:
        return {"loss": next(self.losses)}


def loader(**options: Any) -> DataLoader[Tensor]:
    return DataLoader(Noisy(), batch_size=4, shuffle=True, **options)


CASES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.5, "momentum": 0.9, "clip": 0.1, "schedule": "plateau"},
    "adam": {"schedule": {"name": "cosine", "warmup": 3}},
    "rmsprop": {"optimizer": "rmsprop", "schedule": {"name": "decay", "after": 1}, "weight_decay": 0.1},
    "accumulate": {"accumulate": 2, "optimizer": "adamw"},
    "stateful": {"stateful": True, "optimizer": "sgd", "lr": 0.5},
}


def signalling(loss: Callable[..., Step] | None, at: int | None) -> Callable[..., Step]:
    """A loss that asks the loop to stop while it computes the batch of that number in training."""
    seen = 0

    def wrapped(model: nn.Module, batch: Any, state: Any) -> Step:
        nonlocal seen
        seen += model.training
        if seen == at and model.training:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(model, batch, state) if loss else model.loss(batch, state)  # type: ignore[operator]

    return wrapped


def train(
    folder: Path, stop: int | None, data: Iterable[Any], valid: Any, model: nn.Module, loss: Any = None, **options: Any
) -> Result:
    return fit(
        model, data, valid, epochs=3, folder=folder, resume=True, loss=signalling(loss, stop), progress=False, **options
    )


def same(one: Result, other: Result) -> None:
    clock = ("seconds", "items_per_second")
    rows = [[{k: v for k, v in row.items() if k not in clock} for row in result.history] for result in (one, other)]
    assert rows[0] == rows[1]
    assert one.best["epoch"] == other.best["epoch"]
    assert (one.items, one.stopped) == (other.items, other.stopped)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [5, 8])  # of 5 batches an epoch: its last, and inside the second
def test_the_bits_of_an_interrupted_training(case: str, stop: int, tmp_path: Path) -> None:
    def once(name: str, stop: int | None) -> tuple[Result, Tensor]:
        torch.manual_seed(1)
        model = Counter(dropout=0.3)
        result = train(tmp_path / name, stop, windows(5), windows(2), model, **CASES[case])
        return result, weights(model)

    whole = once("whole", None)
    part, _ = once("part", stop)
    assert part.stopped == "interrupted"
    if case != "accumulate":
        assert part.history[-1]["step"] == stop
    resumed = once("part", None)
    same(whole[0], resumed[0])
    assert torch.equal(whole[1], resumed[1])
    files = [load(tmp_path / name, into=Counter()) for name in ("whole", "part")]
    assert torch.equal(weights(files[0]), weights(files[1]))


@pytest.mark.parametrize("autocast", [None, "float16"])
@pytest.mark.parametrize("own", [False, True], ids=["global generator", "own generator"])
@pytest.mark.parametrize("stop", [6, 8])  # of 6 batches an epoch
def test_the_bits_of_a_data_loader(own: bool, autocast: str | None, stop: int, tmp_path: Path) -> None:
    def once(name: str, stop: int | None) -> tuple[Result, Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
        options = {"generator": torch.Generator().manual_seed(5)} if own else {}
        result = train(tmp_path / name, stop, loader(**options), loader(), model, squares, autocast=autocast)
        return result, weights(model)

    whole = once("whole", None)
    assert once("part", stop)[0].stopped == "interrupted"
    resumed = once("part", None)
    same(whole[0], resumed[0])
    assert torch.equal(whole[1], resumed[1])


def test_the_average_of_ntasgd_is_that_of_the_weights_after_its_steps() -> None:
    model = Measured([1.0, 2.0, 3.0, 0.5])
    # The third loss is above the first, so epoch 4 averages the weights after each of its steps.
    schedule = {"name": "ntasgd", "patience": 1}
    fit(model, windows(3), windows(1), epochs=4, optimizer="sgd", lr=1.0, schedule=schedule, progress=False)
    after_first, after_second = model.steps[10], model.steps[11]
    after_third = weights(model) * 3 - after_first - after_second
    twin = Counter()
    nn.utils.vector_to_parameters(after_second, twin.parameters())
    twin.loss(windows(3)[2]).loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in twin.parameters() if parameter.grad is not None])
    torch.testing.assert_close(after_third, after_second - gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stop", [12, 14])  # inside the epoch where the average began, and in the one after
def test_the_bits_of_an_average_that_began(stop: int, tmp_path: Path) -> None:
    def once(name: str, stop: int | None, losses: list[float]) -> tuple[Result, Tensor]:
        torch.manual_seed(1)
        model = Measured(losses, stop)
        schedule = {"name": "ntasgd", "patience": 1}
        options = {"optimizer": "sgd", "lr": 1.0, "schedule": schedule, "progress": False}
        result = fit(model, windows(3), windows(1), epochs=5, folder=tmp_path / name, resume=True, **options)
        return result, weights(model)

    losses = [1.0, 2.0, 3.0, 0.5, 0.4]
    whole = once("whole", None, losses)
    finished = (stop - 1) // 3
    assert once("part", stop, [*losses[:finished], 9.0])[0].stopped == "interrupted"
    resumed = once("part", None, losses[finished:])
    same(whole[0], resumed[0])
    assert torch.equal(whole[1], resumed[1])


def test_an_interrupted_epoch_that_was_best_gives_its_place_back(tmp_path: Path) -> None:
    """The file of the best model is that of the part while it rests, and the earlier one once it is resumed."""

    def once(losses: list[float], stop: int | None) -> tuple[Result, Tensor]:
        torch.manual_seed(1)
        model = Measured(losses, stop)
        result = fit(model, windows(4), windows(1), epochs=2, folder=tmp_path, resume=True, progress=False)
        return result, weights(model)

    first, partial = once([3.0, 1.0], 6)
    assert (first.best["epoch"], first.best.get("partial"), first.stopped) == (2, True, "interrupted")
    assert torch.equal(weights(load(tmp_path, into=Counter())), partial)
    second, best = once([4.0], None)
    assert (second.best["epoch"], second.stopped) == (1, "epochs")
    assert torch.equal(weights(load(tmp_path, into=Counter())), best)
    assert not torch.equal(best, partial)


def test_more_epochs_go_on_and_none_are_done_again(tmp_path: Path) -> None:
    for epochs in (2, 4, 4):
        torch.manual_seed(1)
        model = Counter()
        result = fit(model, windows(3), epochs=epochs, folder=tmp_path, resume=True, progress=False)
        assert [row["epoch"] for row in result.history] == list(range(1, epochs + 1))
    torch.manual_seed(1)
    whole = Counter()
    fit(whole, windows(3), epochs=4, progress=False)
    assert torch.equal(weights(whole), weights(model))


def test_patience_that_ran_out_stays_so(tmp_path: Path) -> None:
    for _ in range(2):
        model = Measured([1.0, 2.0, 3.0])
        result = fit(model, windows(1), windows(1), epochs=9, patience=2, folder=tmp_path, resume=True, progress=False)
        assert (result.stopped, len(result.history)) == ("patience", 3)
