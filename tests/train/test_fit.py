"""The loop, against the same steps written out by hand."""

import math
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastrnn.train import Step, evaluate, fit
from fastrnn.train.data import Labelled, Pairs, Window
from fastrnn.train.loop import optimizers
from fastrnn.train.loop.placement import to_device
from tests.train.small import Counter, quick, weights, windows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


def test_stateful_training_is_the_loop_written_out() -> None:
    model, twin = Counter(), Counter()
    twin.load_state_dict(model.state_dict())
    data = windows(5)
    result = fit(model, data, epochs=2, optimizer="sgd", lr=0.5, momentum=0.9, clip=0.1, stateful=True, progress=False)

    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5, momentum=0.9)
    for _ in range(2):
        total, state = 0.0, None
        for batch in data:
            state = None if batch.first else tuple(part.detach() for part in state)
            step = twin.loss(batch, state)
            state = step.state
            optimizer.zero_grad()
            step.loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
            optimizer.step()
            total += step.loss.item() / 5
    torch.testing.assert_close(weights(model), weights(twin), rtol=1e-9, atol=1e-12)
    assert result.history[-1]["train_loss"] == pytest.approx(total)
    assert (result.items, result.stopped, len(result.history)) == (2 * 5 * 18, "epochs", 2)


def test_a_stateless_loop_carries_nothing() -> None:
    seen = []

    def loss(model: Counter, batch: Window, state: Any) -> Step:
        seen.append(state)
        return model.loss(batch, state)

    fit(Counter(), windows(4), epochs=1, loss=loss, progress=False)
    assert seen == [None] * 4
    fit(Counter(), windows(4), epochs=1, loss=loss, stateful=True, progress=False)
    assert [state is None for state in seen[4:]] == [True, False, True, False]
    assert not any(part.requires_grad for state in seen[4:] if state for part in state)


def test_accumulated_batches_of_different_sizes_give_the_gradient_of_the_joined_batch() -> None:
    one, two = windows(1, rows=5)[0], windows(1, rows=2)[0]
    joined = Window(torch.cat([one.input, two.input], 1), torch.cat([one.target, two.target], 1), True)
    model, twin = Counter(), Counter()
    twin.load_state_dict(model.state_dict())
    options = {"epochs": 1, "optimizer": "sgd", "lr": 1.0, "clip": 0.2, "progress": False}
    fit(model, [one, two, one], accumulate=2, **options)
    fit(twin, [joined, one], **options)
    torch.testing.assert_close(weights(model), weights(twin), rtol=1e-9, atol=1e-12)


def test_the_best_weights_by_validation_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Counter()
    seen = []
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])

    def measure(batches: Any) -> dict[str, float]:
        seen.append(weights(model))
        return {"loss": next(losses)}

    model.evaluate = measure  # type: ignore[assignment]
    result = fit(model, windows(2), windows(1), epochs=5, patience=2, progress=False)
    assert torch.equal(weights(model), seen[1])
    assert (result.best["epoch"], result.stopped, len(result.history)) == (2, "patience", 4)


@pytest.mark.parametrize(("monitor", "best"), [("accuracy", 2), ("loss", 3)])
def test_more_accuracy_and_less_loss_are_better(monitor: str, best: int) -> None:
    model = Counter()
    figures = iter([{"loss": 3.0, "accuracy": 0.5}, {"loss": 2.0, "accuracy": 0.9}, {"loss": 1.0, "accuracy": 0.7}])
    model.evaluate = lambda batches: next(figures)  # type: ignore[assignment]
    assert fit(model, windows(1), windows(1), epochs=3, monitor=monitor, progress=False).best["epoch"] == best


def test_a_validation_that_is_nan_is_worse_than_any_other() -> None:
    model = Counter()
    figures = iter([math.nan, 3.0, math.nan])
    model.evaluate = lambda batches: {"loss": next(figures)}  # type: ignore[assignment]
    assert fit(model, windows(1), windows(1), epochs=3, progress=False).best["epoch"] == 2


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nan_stops_before_it_spoils_the_weights(what: str) -> None:
    model = Counter()
    kept = []

    def loss(model: Counter, batch: Window, state: Any) -> Step:
        step = model.loss(batch, state)
        kept.append(weights(model))
        if len(kept) < 6:
            return step
        bad = step.loss * math.nan if what == "loss" else step.loss + (model.linear.bias * 0).abs().sqrt().sum()
        return Step(bad, step.items)

    with pytest.warns(RuntimeWarning, match=f"{what} is not finite at step 6: epoch 2, batch 2"):
        result = fit(model, windows(4), epochs=3, loss=loss, progress=False)
    assert (result.stopped, len(result.history)) == ("nan", 1)
    assert torch.isfinite(weights(model)).all()
    assert torch.equal(weights(model), kept[4])  # the best, and last finished, epoch's


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_still_evaluates(number: int) -> None:
    seen = 0

    def loss(model: Counter, batch: Window, state: Any) -> Step:
        nonlocal seen
        seen += 1
        if seen == 7:  # the fifth was validation
            os.kill(os.getpid(), number)
        return model.loss(batch, state)

    before = signal.getsignal(number)
    result = fit(Counter(), windows(4), windows(1), epochs=3, loss=loss, progress=False)
    assert (result.stopped, result.history[-1]["step"], result.history[-1]["partial"]) == ("interrupted", 6, True)
    assert result.history[-1]["valid_loss"] > 0
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once() -> None:
    def loss(model: Counter, batch: Window, state: Any) -> Step:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return model.loss(batch, state)

    with pytest.raises(KeyboardInterrupt):
        fit(Counter(), windows(4), epochs=3, loss=loss, progress=False)


def test_autocast_runs_products_in_sixteen_bits() -> None:
    kinds = set()

    def loss(model: nn.Linear, batch: Tensor, state: Any) -> Step:
        output = model(batch)
        kinds.add(output.dtype)
        return Step(output.float().pow(2).mean(), len(batch))

    for kind in ("bfloat16", "float16"):
        model = nn.Linear(3, 2)
        result = fit(model, [torch.randn(4, 3)] * 3, epochs=20, lr=0.1, loss=loss, autocast=kind, progress=False)
        assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2
    assert kinds == {torch.bfloat16, torch.float16}


def test_evaluate_weighs_batches_by_their_items_and_restores_the_mode() -> None:
    model = Counter(dropout=0.5)
    one, two = windows(1, rows=5)[0], windows(1, rows=2)[0]
    model.eval()
    expected = (model.loss(one).loss * 5 + model.loss(two).loss * 2) / 7
    model.train()
    assert evaluate(model, [one, two])["loss"] == pytest.approx(expected.item())
    assert model.training


def test_data_with_epochs_is_asked_for_each() -> None:
    class Data:
        def __init__(self) -> None:
            self.asked: list[int] = []

        def epoch(self, number: int) -> Any:
            self.asked.append(number)
            return iter(windows(2))

    data = Data()
    fit(Counter(), data, epochs=3, progress=False)  # type: ignore[arg-type]
    assert data.asked == [0, 1, 2]


def test_lengths_stay_on_the_cpu_when_a_batch_moves() -> None:
    ids, lengths = torch.zeros(3, 2, dtype=torch.int64), torch.tensor([3, 1])
    elsewhere = torch.device("meta")
    pairs = to_device(Pairs(ids, lengths, ids, lengths), elsewhere)
    assert [part.device.type for part in pairs] == ["meta", "cpu", "meta", "cpu"]
    assert isinstance(pairs, Pairs)
    window = to_device(Window(ids, ids, True), elsewhere)
    assert (window.input.device.type, window.first) == ("meta", True)
    assert to_device(Labelled(ids, None, lengths), elsewhere).lengths is None
    named = to_device({"input": [ids, (ids,)], "lengths": lengths}, elsewhere)
    assert (named["input"][1][0].device.type, named["lengths"].device.type) == ("meta", "cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean 'adam'"),
        ({"schedule": "plato"}, "unknown schedule 'plato'; did you mean 'plateau'"),
        ({"schedule": {"name": "decay", "facto": 0.5}}, "'facto'; did you mean 'factor'"),
        ({"schedule": {"factor": 0.5}}, "needs a name"),
        ({"schedule": "plateau"}, "pass valid="),
        ({"patience": 3}, "pass valid="),
        ({"momentum": 0.9}, "adam takes no momentum"),
        ({"autocast": "float8"}, "unknown autocast dtype 'float8'"),
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
    ],
)
def test_arguments_that_are_wrong_say_what_is_right(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(Counter(), windows(2), progress=False, **{"epochs": 1, **arguments})


def test_gradients_left_before_are_not_part_of_the_first_step() -> None:
    ends = []
    for left in (False, True):
        torch.manual_seed(1)
        model = Counter()
        if left:
            model.loss(windows(1)[0]).loss.backward()
        fit(model, windows(2), epochs=1, optimizer="sgd", lr=1.0, progress=False)
        ends.append(weights(model))
    assert torch.equal(*ends)


def test_time_of_validation_is_not_that_of_training() -> None:
    class Slow(Counter):
        def evaluate(self, batches: Any) -> dict[str, float]:
            time.sleep(0.3)
            return {"loss": 1.0}

    started = time.monotonic()
    result = fit(Slow(), windows(1), windows(1), epochs=2, progress=False)
    assert result.seconds >= 0.6
    assert sum(row["seconds"] for row in result.history) <= time.monotonic() - started - 0.59


def test_an_optimizer_of_ones_own_keeps_its_rates() -> None:
    model = Counter()
    groups = [{"params": model.lstm.parameters(), "lr": 0.5}, {"params": model.linear.parameters()}]
    own = torch.optim.SGD(groups, lr=0.1)
    schedule = {"name": "decay", "factor": 0.5}
    fit(model, windows(2), epochs=2, optimizer=own, schedule=schedule, progress=False)
    assert [group["lr"] for group in own.param_groups] == [0.5 / 2, 0.1 / 2]


def test_models_and_losses_that_do_not_fit_are_told() -> None:
    with pytest.raises(TypeError, match=r"fit trains a torch.nn.Module, got dict"):
        fit({}, windows(2), epochs=1, progress=False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stateful=True needs a state to carry"):
        fit(
            Counter(),
            windows(2),
            epochs=1,
            stateful=True,
            loss=lambda model, batch, state: model.loss(batch, state)._replace(state=None),
            progress=False,
        )
    with pytest.raises(TypeError, match="no method loss"):
        fit(nn.Linear(2, 2), windows(2), epochs=1, progress=False)
    with pytest.raises(TypeError, match=r"must return fastrnn\.train\.Step"):
        fit(Counter(), windows(2), epochs=1, loss=lambda model, batch, state: 1.0, progress=False)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="read only once"):
        fit(Counter(), iter(windows(2)), epochs=2, progress=False)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_in_one_pass_takes_the_steps_of_adam(name: str) -> None:
    start = torch.randn(50)
    plain, ours = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    pairs = [(plain, kind([plain], lr=0.1, weight_decay=0.01)), (ours, optimizers.make(name, [ours], 0.1, 0.0, 0.01))]
    assert pairs[1][1].defaults["fused"]
    for parameter, optimizer in pairs:
        for _ in range(5):
            parameter.grad = parameter.detach().sin()
            optimizer.step()
    torch.testing.assert_close(ours, plain)
