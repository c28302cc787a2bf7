"""Damaged files, full disks, folders in use: helpful errors, and no data is lost."""

import errno
import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from fastrnn.train import fit, load
from fastrnn.train.saving import checkpoint
from fastrnn.train.saving.tree import pack, unpack
from tests.train.small import Counter, quick, weights, windows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


def train(folder: Path, model: nn.Module | None = None, data: Any = None, **options: Any) -> Any:
    arguments = {"epochs": 2, "resume": True, "progress": False, **options}
    return fit(model or Counter(), windows(3) if data is None else data, folder=folder, **arguments)


def test_a_tree_comes_back_as_it_was() -> None:
    tree = {
        "pair": (torch.arange(3), [1, 2.5, None, True]),
        "numbered": {0: {"exp_avg": torch.ones(2, dtype=torch.bfloat16)}, 1: {}},
        "@odd": {"@tensor": "x"},
        "float": [0.1, float("inf"), -0.0],
        "empty": ((), [], {}),
    }
    tensors: dict[str, torch.Tensor] = {}
    back = unpack(json.loads(json.dumps(pack(tree, tensors))), tensors)
    assert repr(back) == repr(tree)
    with pytest.raises(TypeError, match=r"a\.b cannot be saved: it is a set"):
        pack({"a": {"b": {1}}}, {})


@pytest.mark.parametrize(
    "cut", [lambda data: b"", lambda data: data[:-1], lambda data: data[:30], lambda data: b"{}" * 40]
)
def test_a_damaged_checkpoint_is_an_error_and_stays(cut: Callable[[bytes], bytes], tmp_path: Path) -> None:
    train(tmp_path)
    file = tmp_path / "checkpoint.safetensors"
    damaged = cut(file.read_bytes())
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged, truncated, or not a safetensors file"):
        train(tmp_path)
    assert file.read_bytes() == damaged


def test_a_model_is_no_checkpoint(tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / "model.safetensors").replace(tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match=r"is not a fastrnn\.train checkpoint 1 file but fastrnn\.train model 1"):
        train(tmp_path)


def test_what_differs_from_the_checkpoint_is_named(tmp_path: Path) -> None:
    train(tmp_path)
    other = Counter()
    other.linear = nn.Linear(5, 8).double()
    with pytest.raises(ValueError, match=r"linear\.weight is \(7, 5\) in the file and \(8, 5\) in the model"):
        train(tmp_path, other)
    with pytest.raises(ValueError, match=r"different settings: clip was None and is 1\.0; lr was 0\.001 and is 0\.1"):
        train(tmp_path, clip=1.0, lr=0.1)
    with pytest.raises(ValueError, match="different data: batches was 3 and is 4"):
        train(tmp_path, data=windows(4))
    with pytest.raises(ValueError, match="different data: first batch was"):
        train(tmp_path, data=windows(4)[1:])
    train(tmp_path, epochs=3)  # more of the same is no difference


def test_a_folder_in_use_is_not_written_over(tmp_path: Path) -> None:
    train(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(FileExistsError, match=r"already contains a training.*resume=True"):
        train(tmp_path, resume=False)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_full_disc_ends_the_training_and_leaves_the_old_files(tmp_path: Path) -> None:
    torch.manual_seed(1)
    train(tmp_path, epochs=1)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(
            OSError, match="File too large: the file was not written; the previous one is unchanged"
        ) as error:
            train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert train(tmp_path).stopped == "epochs"


def test_a_full_disc_is_told_with_what_is_left(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for before in ("there was no previous one", "the previous one is unchanged"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(OSError, match=before):
                checkpoint.save(file, {"weights": torch.zeros(1000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        checkpoint.save(file, {"weights": torch.zeros(3)})
    signal.signal(signal.SIGXFSZ, handler)
    assert checkpoint.load(file)["weights"].tolist() == [0, 0, 0]


def test_nan_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    seen = 0

    class Spoilt(Counter):
        def loss(self, batch: Any, state: Any = None) -> Any:
            nonlocal seen
            seen += 1
            step = super().loss(batch, state)
            return step._replace(loss=step.loss * (float("nan") if seen == 5 else 1.0))

    with pytest.warns(RuntimeWarning, match="loss is not finite at step 5: epoch 2, batch 2"):
        result = train(tmp_path, Spoilt(), checkpoint_every=0.0)
    assert result.stopped == "nan"
    state = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert state["run"]["counters"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["run"]["model"].values())
    assert weights(load(tmp_path, into=Counter())).isfinite().all()
    assert "loss is not finite at step 5" in (tmp_path / "report.md").read_text()


def test_a_checkpoint_is_tensors_and_json(tmp_path: Path) -> None:
    train(tmp_path, stateful=True)
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as opened:
        names = set(opened.keys())
        state = json.loads(opened.metadata()["state"])
    assert {"run.model.linear.weight", "run.optimizer.state.0.exp_avg"} <= names
    assert state["settings"]["optimizer"] == "adam"
    assert [row["epoch"] for row in state["run"]["counters"]["history"]] == [1, 2]


def test_a_figure_that_is_not_measured_costs_no_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown metric to monitor 'los'; did you mean 'loss'"):
        fit(Counter(), windows(3), windows(1), epochs=1, monitor="los", folder=tmp_path, progress=False)
    calls = 0

    class Counting(Counter):
        def loss(self, batch: Any, state: Any = None) -> Any:
            nonlocal calls
            calls += self.training
            return super().loss(batch, state)

    result = fit(Counting(), windows(3), windows(1), epochs=1, folder=tmp_path, resume=True, progress=False)
    assert (calls, result.history[0]["step"], result.stopped) == (0, 3, "epochs")
