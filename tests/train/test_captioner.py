"""Captioner: pictures or vectors into words, with any encoder, cell and number of layers."""

from typing import Any

import numpy as np
import pytest
import torch

from fastrnn.train import fit, load, save
from fastrnn.train.data import Bucketed, Captioned, Vocabulary
from fastrnn.train.models import Captioner
from fastrnn.train.models.encoders import ConvolutionalEncoder, DenseEncoder
from fastrnn.train.models.recurrent import CELLS

WORDS = Vocabulary.build(["zero one two three four"], bos="<bos>", eos="<eos>")
CAPTIONS = ["one two", "three", "four four zero", ""]


def model_of(encoder: Any = None, **options: Any) -> Captioner:
    torch.manual_seed(1)
    model = Captioner(WORDS, encoder or DenseEncoder(6, output=5), **{"hidden": 7, **options}).eval()
    for weight in model.parameters():
        torch.nn.init.uniform_(weight, -0.9, 0.9)
    return model


def batch_of(input: Any, captions: list[str] = CAPTIONS) -> Captioned:
    items = [(each, WORDS.encode(caption, ends=True)) for each, caption in zip(input, captions, strict=True)]
    return next(iter(Bucketed(items, len(items), into=Captioned, shuffle=False)))


@pytest.mark.parametrize("options", [{}, {"layers": 2, "embedding": 3}, {"bridge": "repeat", "layers": 2}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_shapes_and_gradients(cell: str, options: dict[str, Any]) -> None:
    model, batch = model_of(cell=cell, **options), batch_of(torch.randn(4, 6))
    logits = model(batch.input, batch.target)
    assert logits.shape == (5, 4, len(WORDS))
    assert not torch.allclose(logits[0, 0], logits[0, 1]), "the vector makes a difference"
    step = model.loss(batch)
    assert step.items == 2 + 1 + 3 + 4
    step.loss.backward()
    gradients = [weight.grad for weight in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("bridge", ["state", "repeat"])
def test_padding_changes_nothing(bridge: str) -> None:
    model, vectors = model_of(bridge=bridge), torch.randn(4, 6)
    step = model.loss(batch_of(vectors))
    singles = [model.loss(batch_of(vectors[i : i + 1], CAPTIONS[i : i + 1])) for i in range(4)]
    mean = sum(single.loss * single.items for single in singles) / step.items
    torch.testing.assert_close(step.loss, mean)


def test_convolutional_encoder() -> None:
    encoder = ConvolutionalEncoder((2, 12, 20), (3, 4), 5)
    assert encoder(torch.randn(4, 2, 12, 20)).shape == (4, 5)
    with pytest.raises(ValueError, match=r"Expected pictures \(B, 2, 12, 20\), got \(4, 2, 20, 12\)"):
        encoder(torch.randn(4, 2, 20, 12))
    with pytest.raises(ValueError, match="too small to be halved 4 times"):
        ConvolutionalEncoder((1, 12, 20), (3, 4, 5, 6))


def test_dense_encoder() -> None:
    assert DenseEncoder(6, (7, 8), 5)(torch.randn(4, 6)).shape == (4, 5)
    with pytest.raises(ValueError, match=r"Expected vectors \(B, 6\), got \(4, 7\)"):
        DenseEncoder(6)(torch.randn(4, 7))


def test_one_or_many() -> None:
    pictures = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    model = model_of(ConvolutionalEncoder((1, 8, 8), (2,), 5))
    captions = model.caption(pictures, length=4)
    assert captions == [model.caption(picture, length=4) for picture in pictures]
    assert all(len(caption.split()) <= 4 for caption in captions)
    assert isinstance(model.caption(torch.from_numpy(pictures), beam=3, length=4), list)
    assert isinstance(model_of().caption(torch.zeros(6)), str)


def test_learns_what_pictures_show() -> None:
    """Two places, each dark, half or light, said one after the other."""
    levels = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    pictures = (levels[:, None, None, :].repeat_interleave(4, 2).repeat_interleave(4, 3)) / 2
    captions = [" ".join(("zero", "one", "two")[level] for level in pair) for pair in levels.tolist()]
    items = [(picture, WORDS.encode(each, ends=True)) for picture, each in zip(pictures, captions, strict=True)]
    data = Bucketed(items, 9, into=Captioned)
    torch.manual_seed(0)
    model = Captioner(WORDS, ConvolutionalEncoder((1, 4, 8), (8,), 32), cell="gru", hidden=32)
    fit(model, data, epochs=120, lr=0.01, progress=False)
    assert model.evaluate(data.epoch(0))["exact"] == 1.0
    assert model.caption(pictures) == captions
    assert model.caption(pictures[5], beam=3) == captions[5]


@pytest.mark.parametrize("encoder", [DenseEncoder(6, (7, 8), 5), ConvolutionalEncoder((1, 8, 9), (2, 3), 5)])
def test_saved_and_loaded(encoder: Any, tmp_path: Any) -> None:
    model = model_of(encoder, layers=2, embedding=3)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.config() == model.config()
    assert type(loaded.encoder) is type(encoder)
    input = torch.randn(3, 6) if isinstance(encoder, DenseEncoder) else torch.randn(3, 1, 8, 9)
    assert loaded.caption(input, length=5) == model.caption(input, length=5)


class Own(torch.nn.Linear):
    output_size = 5


def test_an_encoder_of_your_own(tmp_path: Any) -> None:
    model = model_of(Own(6, 5))
    assert model.config() is None
    save(model, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="into="):
        load(tmp_path / "model.safetensors")
    other, vectors = Captioner(WORDS, Own(6, 5), hidden=7), torch.randn(3, 6)
    load(tmp_path / "model.safetensors", into=other)
    assert other.caption(vectors, length=5) == model.caption(vectors, length=5)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match=r"Type: encoder\.output_size"):
        Captioner(WORDS, torch.nn.Linear(6, 5))
    with pytest.raises(ValueError, match="one of state, repeat, got 'copy'"):
        Captioner(WORDS, DenseEncoder(6), bridge="copy")
    with pytest.raises(ValueError, match=r"one of ConvolutionalEncoder, DenseEncoder, got 'os\.system'"):
        Captioner.from_config({"vocabulary": WORDS.config(), "encoder": {"class": "os.system"}})
