"""The models in other programs' loops: Lightning with truncated BPTT again, and accelerate."""

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from fastrnn.train import fit
from tests.train.small import Counter, quick, weights, windows

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


class Module(nn.Module):
    """What the example uses of LightningModule, as Lightning 2's documentation states it."""

    def optimizers(self) -> torch.optim.Optimizer:
        if not hasattr(self, "optimizer"):
            self.optimizer = self.configure_optimizers()  # type: ignore[operator]
        return self.optimizer

    def manual_backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def clip_gradients(self, optimizer: Any, gradient_clip_val: float, gradient_clip_algorithm: str) -> None:
        assert gradient_clip_algorithm == "norm"
        nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def log(self, name: str, value: torch.Tensor, *, on_epoch: bool, batch_size: int) -> None:
        assert (name, value.dim(), batch_size) == ("train_loss", 0, 18)


def expected() -> torch.Tensor:
    """The weights that fit gives, two epochs of windows whose third starts without a state."""
    torch.manual_seed(1)
    model = Counter()
    fit(model, windows(4), epochs=2, optimizer="sgd", lr=0.5, clip=0.3, stateful=True, progress=False)
    return weights(model)


def test_lightnings_loop_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("lightning")
    stand_in.LightningModule = Module  # type: ignore[attr-defined]
    stand_in.Trainer = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", stand_in)
    example = runpy.run_path(str(EXAMPLES / "lightning_truncated_bptt.py"))
    torch.manual_seed(1)
    module = example["TruncatedBPTT"](Counter(), lr=0.5, clip=0.3)
    for _ in range(2):
        for index, batch in enumerate(windows(4)):
            module.training_step(batch, index)
    torch.testing.assert_close(weights(module.model), expected(), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("default")  # Lightning's own
def test_lightning_itself_runs_it(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    from torch.utils.data import DataLoader

    example = runpy.run_path(str(EXAMPLES / "lightning_truncated_bptt.py"))
    torch.manual_seed(1)
    module = example["TruncatedBPTT"](Counter(), lr=0.5, clip=0.3)
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, DataLoader(windows(4), batch_size=None, shuffle=False))
    torch.testing.assert_close(weights(module.model), expected(), rtol=1e-9, atol=1e-12)


def test_the_loop_with_accelerate_learns(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("accelerate")
    loss = runpy.run_path(str(EXAMPLES / "accelerate_loop.py"))["main"](epochs=8)
    assert loss < 0.3  # of ten words, each with one or two or three that may follow
    assert "after 'the cat sat': [('on', 0.9" in capsys.readouterr().out
