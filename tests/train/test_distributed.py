"""Two processes take the step of one that has the whole batch."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastrnn.train import fit
from fastrnn.train.data import Captioned, Labelled, Pairs, Tagged, Window
from fastrnn.train.loop.distributed import columns
from fastrnn.train.saving import checkpoint
from tests.train.small import Counter, quick, rows_of, squares, weights, windows, words


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


ROOT = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {"epochs": 2, "optimizer": "sgd", "lr": 0.5, "clip": 0.3, "progress": False}

# Everything that two processes do in these tests, in one pair of them: importing torch takes seconds.
PROGRAM = """
import os, sys, signal
import torch
from torch.utils.data import DataLoader, DistributedSampler
from fastrnn.train import fit
from tests.train.small import Counter, Lengths, rows_of, squares, weights, windows, words
from tests.train.test_distributed import OPTIONS

rank, folder = int(os.environ["RANK"]), sys.argv[1]
found = {}

def train(name, model, data, valid=None, **options):
    result = fit(model, data, valid, **{**OPTIONS, **options})
    found[name] = weights(model)
    found[name + " loss"] = torch.tensor(result.history[-1]["train_loss"], dtype=torch.float64)
    found[name + " items"] = torch.tensor(result.items)

def made(kind, *arguments):
    torch.manual_seed(1)
    return kind(*arguments)

train("columns", made(Counter), windows(5, rows=3), windows(2), stateful=True)
train("one column", made(Counter), windows(3, rows=1))
train("lengths", made(Lengths), words())
train("every second", made(torch.nn.Linear, 3, 1, True, None, torch.float64), rows_of(5, 3, 4), loss=squares)
train("accumulate", made(Counter), windows(5, rows=3), accumulate=2)

# Dropout differs between processes and the order of a DataLoader does not: the weights are the same on both.
items = torch.cat(rows_of(5, 3, 4)) / 10
mlp = made(lambda: torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1)).double())
train("dropout", mlp, DataLoader(items, 2, shuffle=True), loss=squares, epochs=3)
sampler = DistributedSampler(items, 2, rank, shuffle=False)
loader = DataLoader(items, 2, sampler=sampler)
train("sampler", made(torch.nn.Linear, 3, 1, True, None, torch.float64), loader, loss=squares)

# A signal in one process stops both after the same step; resuming gives the bits of the training that went on.
class Stopped(Counter):
    steps = 0
    def loss(self, batch, state=None):
        self.steps += self.training
        if self.training and self.steps == 7 and rank == 1 and self.stop:
            os.kill(os.getpid(), signal.SIGINT)
        return super().loss(batch, state)

for name, stop in (("whole", False), ("part", True), ("part", False)):
    model = made(Stopped, 0.3)
    model.stop = stop
    model.steps = 0
    result = fit(model, windows(5), windows(2), stateful=True, folder=f"{folder}/{name}", resume=True, **OPTIONS)
    found[f"{name} {stop}"] = weights(model)
    if stop:
        found["stopped"] = torch.tensor(result.history[-1]["step"])
torch.save(found, f"{folder}/{rank}.pt")
"""

# The last thing a process does before the interpreter ends: it writes down which threads it still has.
THREADS = """
import atexit, os, sys

@atexit.register
def write_threads():
    names = [open(f"/proc/self/task/{thread}/comm").read().strip() for thread in os.listdir("/proc/self/task")]
    open(f"{sys.argv[1]}/{os.environ['RANK']}.threads", "w").write(" ".join(names))
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor], Path]:
    """What both processes found."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning", "-c", THREADS + PROGRAM, str(folder)],
            cwd=ROOT,
            env={**os.environ, **settings, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    one, two = (torch.load(folder / f"{rank}.pt") for rank in range(2))
    return one, two, folder


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_thread_of_gloo_lives_when_the_interpreter_ends(pair: Any) -> None:
    # One that still held a tensor aborted the process, in about one run of fifty on a busy machine.
    for rank in range(2):
        names = (pair[2] / f"{rank}.threads").read_text()
        assert "python" in names
        assert "gloo" not in names


GROUP_OF_THE_SCRIPT = """
import sys, torch
from torch import distributed as dist
from fastrnn.train import fit
from tests.train.small import Counter, windows
from tests.train.test_distributed import OPTIONS

dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/store", rank=0, world_size=1)
model = Counter()
fit(model, windows(2), **OPTIONS)
try:
    fit(model, windows(2), [], **OPTIONS)
except ValueError as error:
    kept = error  # and with it all that its frames hold
else:
    sys.exit("validation without batches was no error")
dist.destroy_process_group()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_script_that_makes_and_destroys_the_group_leaves_no_thread_of_gloo_either(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", THREADS + GROUP_OF_THE_SCRIPT, str(tmp_path)]
    environment = os.environ | {"RANK": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)
    names = (tmp_path / "0.threads").read_text()
    assert "python" in names
    assert "gloo" not in names


def test_both_processes_have_the_same_weights_to_the_bit(pair: Any) -> None:
    one, two, _ = pair
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


@pytest.mark.parametrize("case", ["columns", "one column", "lengths", "every second", "accumulate", "sampler"])
def test_two_processes_give_the_gradient_of_the_joined_batch(case: str, pair: Any) -> None:
    from tests.train.small import Lengths

    torch.manual_seed(1)
    linear = {"every second", "sampler"}
    model = (
        torch.nn.Linear(3, 1, dtype=torch.float64) if case in linear else Lengths() if case == "lengths" else Counter()
    )
    items = torch.cat(rows_of(5, 3, 4)) / 10
    # The sampler gives process r every second item from r: two of each make a joined batch of four.
    joined: dict[str, Any] = {
        "columns": windows(5, rows=3),
        "one column": windows(3, rows=1),
        "lengths": words(),
        "every second": [torch.cat(rows_of(5, 3)), *rows_of(4)],
        "accumulate": windows(5, rows=3),
        "sampler": items.split(4),
    }
    extra: dict[str, Any] = {"columns": {"stateful": True}, "accumulate": {"accumulate": 2}}.get(case, {})
    if case in linear:
        extra["loss"] = squares
    result = fit(model, joined[case], windows(2) if case == "columns" else None, **{**OPTIONS, **extra})
    torch.testing.assert_close(pair[0][case], weights(model), rtol=1e-6, atol=1e-9)
    assert pair[0][case + " loss"].item() == pytest.approx(result.history[-1]["train_loss"], rel=1e-6)
    assert pair[0][case + " items"] == result.items


def test_a_signal_to_one_process_stops_both_and_they_resume_to_the_same_bits(pair: Any) -> None:
    found, _, folder = pair
    assert found["stopped"] in (7, 8)
    assert torch.equal(found["part False"], found["whole False"])
    assert not torch.equal(found["part True"], found["whole False"])
    state = checkpoint.load(folder / "whole" / "checkpoint.safetensors")
    assert len(state["run"]["processes"]) == 2
    with pytest.raises(ValueError, match="is from 2 processes, and this training has 1; resume with the same number"):
        fit(Counter(0.3), windows(5), windows(2), stateful=True, folder=folder / "whole", resume=True, **OPTIONS)


def test_columns_of_every_kind_of_batch() -> None:
    numbers = torch.arange(5 * 3).reshape(5, 3)
    lengths = torch.tensor([2, 5, 3])
    window = columns(Window(numbers, numbers + 1, True), 1, 2)[0]
    assert window.input.tolist() == numbers[:, 1:].tolist()
    assert window.first
    labelled, counts = columns(Labelled(numbers, lengths, torch.arange(3)), 0, 2)
    assert counts
    assert (labelled.input.shape, labelled.lengths.tolist(), labelled.target.tolist()) == ((2, 1), [2], [0])
    assert columns(Labelled(numbers, None, torch.arange(3)), 0, 2)[0].lengths is None
    tagged = columns(Tagged(numbers, lengths, numbers), 2, 3)[0]
    assert (tagged.input.shape, tagged.target.tolist()) == ((3, 1), numbers[:3, 2:].tolist())
    pairs = columns(Pairs(numbers, lengths, numbers, lengths.flip(0)), 0, 3)[0]
    assert (pairs.source.shape, pairs.target.shape) == ((2, 1), (3, 1))
    captioned = columns(Captioned(torch.zeros(3, 1, 4, 4), numbers, lengths), 1, 3)[0]
    assert (captioned.input.shape, captioned.target.shape) == ((1, 1, 4, 4), (5, 1))
    assert [columns(Window(numbers, numbers, True), rank, 4)[1] for rank in range(4)] == [False, True, True, True]
