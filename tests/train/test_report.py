"""What a training leaves for people: the report, its curves, the logs, the bar."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrnn.train import Result, fit
from fastrnn.train.loop import progress
from fastrnn.train.saving import report
from tests.train.small import Counter, windows


def test_a_run_leaves_a_report_with_its_curves(tmp_path: Path) -> None:
    fit(Counter(), windows(3), windows(2), epochs=2, clip=1.0, folder=tmp_path, progress=False)
    page = (tmp_path / "report.md").read_text()
    assert "all 2 epochs done" in page
    assert "Best epoch: 2; validation: loss " in page
    assert "| clip | 1 |" in page
    assert "![Loss by epoch](curves.png)" in page
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert f"torch {torch.__version__}" in page


def test_a_report_shows_the_test_the_published_figure_and_samples(tmp_path: Path) -> None:
    history = [{"epoch": 1, "train_loss": 2.0, "valid_loss": 1.5}, {"epoch": 2, "train_loss": 1.0, "valid_loss": 1.25}]
    result = Result(history, history[1], 3725.0, 1234567, "epochs", "all 2 epochs done")
    report.write(
        tmp_path,
        result,
        title="A | sum",
        settings={"schedule": {"name": "decay"}, "data": "a|b"},
        test={"perplexity": 115.93},
        published={"figure": "115.9", "source": "Zaremba et al. 2014"},
        samples="1+1=2\n```\nx",
    )
    page = (tmp_path / "report.md").read_text()
    for part in (
        "# A | sum\n",
        "1 h 2 min, 1,234,567 items.",
        "Best epoch: 2; validation: loss 1.25.",
        "Test: perplexity 115.93.",
        "Published: 115.9; Zaremba et al. 2014.",
        "````\n1+1=2\n```\nx\n````",
        "| data | a\\|b |",
        "| epoch | train loss | valid loss |\n| --- | --- | --- |\n| 1 | 2 | 1.5 |",
    ):
        assert part in page


def test_without_matplotlib_the_report_has_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report.write(tmp_path, Result([{"epoch": 1, "train_loss": 2.0}], reason="done"))
    assert "curves" not in (tmp_path / "report.md").read_text()
    assert not (tmp_path / "curves.png").exists()


def test_the_log_of_a_resumed_run_has_every_epoch_once(tmp_path: Path) -> None:
    for epochs in (1, 3):
        fit(Counter(), windows(3), epochs=epochs, folder=tmp_path, resume=True, progress=False)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["3", "6", "9"]
    assert all(float(row["train_loss"]) > 0 for row in rows)


def test_tensorboard_has_every_epoch_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epochs in (1, 2):
        fit(Counter(), windows(3), epochs=epochs, folder=tmp_path, resume=True, tensorboard=True, progress=False)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [3, 6]
    with pytest.raises(ValueError, match="tensorboard=True needs folder="):
        fit(Counter(), windows(3), epochs=1, tensorboard=True, progress=False)


def test_the_bar_shows_what_is_asked_for_and_is_quiet_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich import console

    out = io.StringIO()

    class Terminal(console.Console):
        def __init__(self, **options: Any) -> None:
            super().__init__(file=out, force_terminal=True, width=120)

    monkeypatch.setattr(console, "Console", Terminal)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    fit(Counter(), windows(3), epochs=1)
    assert "ppl" not in out.getvalue()
    model = Counter()
    model.perplexity = lambda data: 1.0  # type: ignore[assignment]
    fit(model, windows(3), windows(2), epochs=2)
    shown = out.getvalue()
    for part in ("epoch 2/2", "items/s", "loss 1.", "ppl ", "100%", "epoch 1: train loss ", "valid loss"):
        assert part in shown
    monkeypatch.undo()
    assert progress._bar() is None  # pytest is no terminal


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r"pip install 'fastrnn\[train\]'"):
        fit(Counter(), windows(3), epochs=1, folder=tmp_path, progress=False)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        fit(Counter(), windows(3), epochs=1, folder=tmp_path, tensorboard=True, progress=False)
