"""Describes pictures in words: strips of digits, and "three eight one"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn._markdown import table
from fastrnn.train.data.batch import Captioned
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.made.digits import SIZE, Pictures, Strips, strips
from fastrnn.train.data.made.digits import digits as drawn
from fastrnn.train.data.made.numerals import english
from fastrnn.train.data.readers import read_mnist
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.captioner import Captioner
from fastrnn.train.models.encoders import ConvolutionalEncoder
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared

EXAMPLE = "381"


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Data: the folder with MNIST's four files. By default digits are drawn."""

    digits: int = setting(3, "Digits of the longest strip.", least=1)
    shortest: int | None = setting(None, "Digits of the shortest strip; by default the same as the longest.", least=1)
    count: int = setting(10_000, "Strips to train on.", least=1)
    held_out: int = setting(1_000, "Strips to validate on, and the same number to test on.", least=1)
    channels: tuple[int, ...] = setting((16, 32), "Channels of each convolution.")
    features: int = setting(128, "Features that the encoder extracts from a strip.", least=1)
    embedding: int | None = setting(None, "Size of a word's embedding; none for one-hot vectors.", least=1)
    bridge: str = setting("state", "What the encoder passes to the decoder.", choices=("state", "repeat"))
    batch: int = setting(64, "Strips in a batch.", least=1)
    epochs: int = setting(6, "Number of passes over the data.", least=1)
    lr: float = setting(4e-3, "Initial learning rate.", least=0)
    schedule: Mapping[str, Any] | str | None = setting("cosine", "Learning rate schedule.")
    clip: float | None = setting(1.0, "Maximum norm of the gradient.", least=0)


def prepare(settings: Settings) -> Prepared:
    train, valid, test = (
        strips(*pictures, count, digits=settings.digits, shortest=settings.shortest, seed=settings.seed)
        for pictures, count in zip(
            _pictures(settings), (settings.count, settings.held_out, settings.held_out), strict=True
        )
    )
    vocabulary = Vocabulary.build(map(english, range(10)), unknown=None, bos="<bos>", eos="<eos>")
    encoder = ConvolutionalEncoder(train.pictures.shape[1:], settings.channels, settings.features)
    model = Captioner(vocabulary, encoder, **settings.arguments_of(Captioner))
    return Prepared(
        model,
        _batches(model, train, settings, shuffle=True),
        _batches(model, valid, settings),
        _batches(model, test, settings),
        about={"strips to train on": f"{settings.count:,}"},
    )


def samples(model: Captioner, prepared: Prepared) -> str:
    """Strips of the test data: the model's caption, and whether it is right."""
    items = prepared.test.items[:12]
    said = model.caption(np.stack([picture for picture, _ in items]))
    right = [model.vocabulary.decode(caption) for _, caption in items]
    rows = [
        [written, "right" if written == caption else f"wrong: {caption}"]
        for written, caption in zip(said, right, strict=True)
    ]
    return table(["what the model says", ""], rows, align="ll")


def batches(settings: Settings, model: Captioner) -> Bucketed:
    """Strips of the test pictures of a folder."""
    *_, pictures = _pictures(settings)
    made = strips(*pictures, settings.held_out, digits=settings.digits, shortest=settings.shortest, seed=settings.seed)
    return _batches(model, made, settings)


def generate(model: Captioner, prompt: str | None, options: Generation) -> str:
    """Draws the digits of a prompt, and returns the model's caption."""
    most = model.encoder.size[2] // SIZE
    wanted = EXAMPLE[:most] if prompt is None else prompt
    if not wanted.isdecimal() or not wanted.isascii() or len(wanted) > most:
        raise ValueError(f"Expected 1 to {most} digits to draw, such as --prompt {EXAMPLE[:most]}, got {wanted!r}")
    pictures, labels = drawn(100 * most, seed=options.seed or 0)
    chosen = [pictures[np.flatnonzero(labels == int(digit))[place]] for place, digit in enumerate(wanted)]
    blank = [np.zeros_like(pictures[0])] * (most - len(wanted))
    caption = model.caption(np.concatenate(chosen + blank, 1)[None], beam=options.beam, length=options.length or 50)
    return f"{wanted}: {caption}" if prompt is None else caption


def _pictures(settings: Settings) -> Sequence[Pictures]:
    """Pictures of one digit each, for training, validation and test."""
    if settings.data is None:
        return [drawn(5_000, seed=3 * settings.seed + part) for part in range(3)]
    found = read_mnist(settings.data)
    images, labels = found.train_images, found.train_labels
    end = len(images) - max(1, len(images) // 12)  # the last 5,000 of MNIST's 60,000 are for validation
    parts = ((images[:end], labels[:end]), (images[end:], labels[end:]), (found.test_images, found.test_labels))
    return [Pictures((part / 255).astype(np.float32), numbers.astype(np.int64)) for part, numbers in parts]


def _batches(model: Captioner, made: Strips, settings: Settings, shuffle: bool = False) -> Bucketed:
    items = zip(made.pictures, (model.vocabulary.encode(caption, ends=True) for caption in made.captions), strict=True)
    return Bucketed(items, settings.batch, into=Captioned, seed=settings.seed, shuffle=shuffle)
