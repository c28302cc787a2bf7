"""A killed training continues from its last checkpoint and ends as if it had not been killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fastrnn.train import fit
from fastrnn.train.saving import checkpoint
from tests.train.small import Counter, quick, weights, windows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


# Sends itself the signal that cannot be caught, in the tenth step: one step after a checkpoint.
PROGRAM = """
import os, signal, sys
import torch
from fastrnn.train import fit
from tests.train.small import Counter, windows

class Killed(Counter):
    steps = 0
    def loss(self, batch, state=None):
        if self.training:
            Killed.steps += 1
        if Killed.steps == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch, state)

torch.manual_seed(1)
fit(Killed(0.3), windows(4), windows(2), epochs=3, stateful=True, folder=sys.argv[1], checkpoint_every=0)
"""


def test_kill_9_loses_what_came_after_the_last_checkpoint_alone(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    counters = checkpoint.load(tmp_path / "checkpoint.safetensors")["run"]["counters"]
    assert (counters["epoch"], counters["batch"], counters["step"]) == (2, 1, 9)

    ends = []
    for folder in (tmp_path, None):
        torch.manual_seed(1)
        model = Counter(0.3)
        result = fit(
            model,
            windows(4),
            windows(2),
            epochs=3,
            stateful=True,
            folder=folder,
            resume=True,
            checkpoint_every=0,
            progress=False,
        )
        ends.append((weights(model), [row["train_loss"] for row in result.history]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]
