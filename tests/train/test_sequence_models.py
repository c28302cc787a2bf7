"""What Classifier, Forecaster, Tagger and FrameModel share: saving, resuming, and what a loss is the mean of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastrnn.train import fit, load, save
from fastrnn.train.data import Bucketed, Labelled, Scaler, Tagged, Vocabulary
from fastrnn.train.models import Classifier, Forecaster, FrameModel, Tagger
from fastrnn.train.models.columns import Columns
from fastrnn.train.models.recurrent import CELLS

WORDS = Vocabulary.build(["a b c d e"], pad="<pad>")
COLUMNS = Columns.build([(["a", "b", "C"],)], spelling=("lower",))


def make(kind: str, cell: str) -> tuple[torch.nn.Module, list[Any], Any]:
    """A model, the parts of four items for its batches, and what it answers a question."""
    torch.manual_seed(3)
    options: dict[str, Any] = {"cell": cell, "hidden": 4, "layers": 2, "dropout": 0.2}
    lengths = (5, 2, 7, 3)
    if kind == "classifier":
        model = Classifier(WORDS, ["x", "y"], bidirectional=True, word_dropout=0.1, embedding=3, **options)
        return model, [(torch.randint(7, (n,)), n % 2) for n in lengths], lambda of: of.classify("a b e")
    if kind == "forecaster":
        model = Forecaster(2, None, 3, season=2, scaler=Scaler([1.0, 2.0], [3.0, 4.0]), **options)
        return model, [(torch.randn(5, 2), torch.randn(6)) for _ in lengths], lambda of: of.forecast(torch.ones(4, 2))
    if kind == "tagger":
        model = Tagger(COLUMNS, ["O", "B-X", "I-X"], word_dropout=0.1, embedding=3, column_embedding=2, **options)
        items = [(torch.randint(4, (n, 2)), torch.randint(2, (n,))) for n in lengths]
        return model, items, lambda of: of.tag("a b c")
    model = FrameModel(6, **options)
    items = [(torch.rand(n, 6).round(), torch.rand(n, 6).round()) for n in lengths]
    return model, items, lambda of: of.compose(8, seed=1)


def batches(model: torch.nn.Module, items: list[Any]) -> Bucketed:
    into = Labelled if isinstance(model, Classifier | Forecaster) else Tagged
    return Bucketed(items, 2, into=into, columns=isinstance(model, Tagger))


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else one == other


KINDS = pytest.mark.parametrize("kind", ["classifier", "forecaster", "tagger", "frames"])


@KINDS
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_saved_and_loaded_with_any_cell(kind: str, cell: str, tmp_path: Path) -> None:
    model, items, ask = make(kind, cell)
    fit(model, batches(model, items), epochs=1, progress=False)
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert same(ask(again), ask(model))


@KINDS
def test_it_resumes_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    """Two epochs, and one and then another from the checkpoint: dropout and order of the batches included."""
    whole, items, _ = make(kind, "lstm")
    data = batches(whole, items)
    fit(whole, data, epochs=2, progress=False, folder=tmp_path / "whole")
    for epochs in (1, 2):
        part, _, _ = make(kind, "lstm")
        fit(part, data, epochs=epochs, progress=False, folder=tmp_path / "parts", resume=True)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, part.state_dict()[name]), name


@KINDS
def test_the_loss_of_a_batch_is_the_mean_over_its_items(kind: str) -> None:
    """Whatever a batch is split into: so batches and processes are weighted right."""
    model, items, _ = make(kind, "gru")
    model.eval()
    data = batches(model, items)
    (together,) = Bucketed(items, 4, into=data.into, columns=isinstance(model, Tagger), shuffle=False)
    whole = model.loss(together)
    parts = [model.loss(batch) for batch in data]
    assert sum(part.items for part in parts) == whole.items
    mean = sum(part.loss.detach() * part.items for part in parts) / whole.items
    torch.testing.assert_close(mean, whole.loss.detach())
