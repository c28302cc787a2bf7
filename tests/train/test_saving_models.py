"""A saved model is the same model, and a file that is not one says so."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fastrnn.train import load, models, save


class Tied(nn.Module):
    """Embedding and softmax with one matrix, as language models have them."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size, width)
        self.linear = nn.Linear(width, size)
        self.linear.weight = self.embedding.weight

    def config(self) -> dict[str, Any]:
        return {"size": self.size, "width": self.embedding.embedding_dim}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Tied":
        return cls(**config)


class Counts:
    """A model that is no module."""

    def __init__(self, counts: torch.Tensor) -> None:
        self.counts = counts

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"counts": self.counts}

    def config(self) -> dict[str, Any]:
        return {"order": 3}

    @classmethod
    def from_config(cls, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> "Counts":
        assert config == {"order": 3}
        return cls(tensors["counts"])


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Tied, Counts):
        monkeypatch.setitem(models.__dict__, kind.__name__, kind)
        monkeypatch.setitem(models.HOMES, kind.__name__, "here")


def test_tied_weights_are_written_once_and_stay_tied(tmp_path: Path) -> None:
    model = Tied(50, 8)
    save(model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size < 50 * 8 * 4 + 50 * 4 + 1000
    for place in (tmp_path, tmp_path / "model.safetensors"):
        back = load(place)
        assert back.linear.weight is back.embedding.weight
        assert torch.equal(back.linear.weight, model.linear.weight)
        assert torch.equal(back.linear.bias, model.linear.bias)
        assert not back.training


def test_a_model_that_counts_is_saved_by_its_tensors(tmp_path: Path) -> None:
    save(Counts(torch.arange(5)), tmp_path / "n")
    assert torch.equal(load(tmp_path / "n").counts, torch.arange(5))


def test_a_module_of_ones_own_loads_into_another(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save(model, tmp_path / "m")
    with pytest.raises(ValueError, match=r"unknown model 'Linear'.*load\(file, into=module\)"):
        load(tmp_path / "m")
    assert load(tmp_path / "m", into=other) is other
    assert torch.equal(model.weight, other.weight)
    with pytest.raises(ValueError, match=r"weight is \(3, 2\) in the file and \(4, 2\) in the model; bias is"):
        load(tmp_path / "m", into=nn.Linear(2, 4))
    with pytest.raises(ValueError, match=r"the file has no bias_ih_l0; .*; and 2 more"):
        load(tmp_path / "m", into=nn.LSTM(2, 3))


def test_files_that_are_no_models_are_told(tmp_path: Path) -> None:
    save(Tied(50, 8), tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for data in (b"", b"text", whole[:200], whole[:-1]):
        (tmp_path / "cut").write_bytes(data)
        with pytest.raises(ValueError, match="cut is damaged, truncated, or not a safetensors file"):
            load(tmp_path / "cut")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors: no epoch has finished"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no"):
        load(tmp_path / "nothing")
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(
        ValueError, match=r"is not a fastrnn\.train model 1 file but a safetensors file of another program"
    ):
        load(tmp_path / "foreign")


def test_a_config_is_plain_json(tmp_path: Path) -> None:
    from safetensors import safe_open

    save(Tied(5, 2), tmp_path / "m")
    with safe_open(tmp_path / "m", framework="pt") as opened:
        assert json.loads(opened.metadata()["config"]) == {"size": 5, "width": 2}
