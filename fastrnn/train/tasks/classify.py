"""Classifies sequences: the subject of Python's docstrings, the polarity of sentences, digits pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fastrnn._markdown import cell, table
from fastrnn.train.data import readers
from fastrnn.train.data.arrays import Arrays
from fastrnn.train.data.batch import Labelled
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.made.topics import topics
from fastrnn.train.data.readers.polarity import CLASSES as POLARITY
from fastrnn.train.data.splitting import split
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.classifier import Classifier
from fastrnn.train.models.pooling import POOLINGS
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared
from fastrnn.train.tasks.vectors import word2vec

Text = tuple[str, int]  # and its class
EXAMPLE = "return the path of a temporary file that is deleted as soon as it is closed"


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Texts, or pictures that are read pixel by pixel; see :class:`fastrnn.train.models.Classifier`."""

    data: str | None = setting(
        None,
        "A CSV file with columns text and label; the sentence polarity data set; or MNIST's folder. By default "
        "sentences from the docstrings of Python's library, classified by subject.",
    )
    hidden: int = setting(100, "Hidden units of each layer and direction.", least=1)
    dropout: float = setting(0.5, "Dropout of embeddings, between layers and after them.", least=0)
    batch: int = setting(50, "Sequences in a batch.", least=1)
    epochs: int = setting(12, "Number of passes over the data.", least=1)
    clip: float | None = setting(5.0, "Maximum norm of the gradient.", least=0)
    patience: int | None = setting(4, "Stop after this many epochs without an improvement in validation.", least=0)
    bidirectional: bool = setting(True, "Read in both directions.")
    pooling: str = setting(
        "max", "What represents a sequence: the last state, or a pooling of all outputs.", choices=POOLINGS
    )
    dense: int | None = setting(None, "Units of a dense layer before the softmax; none for no such layer.", least=1)
    channels: int | None = setting(
        None, "Filters of a convolution before the recurrent layers; none for no convolution.", least=1
    )
    kernel: int = setting(5, "Width of a filter in steps.", least=1)
    stride: int = setting(1, "Steps from one output of the convolution to the next.", least=1)
    embedding: int = setting(100, "Size of a word's embedding.", least=1)
    word2vec: int = setting(
        10, "Epochs of Word2Vec on the training text that initialise the embedding; 0 for none.", least=0
    )
    frozen: bool = setting(False, "Do not train the embedding then.")
    word_dropout: float = setting(0.1, "Probability of replacing a word by the unknown token in training.", least=0)
    min_count: int = setting(2, "Minimum count of a word in the vocabulary.", least=1)
    permuted: bool = setting(False, "Pictures: read the pixels in one fixed random order.")


class Parts(NamedTuple):
    train: Sequence[Text]
    valid: Sequence[Text]
    test: Sequence[Text]


def prepare(settings: Settings) -> Prepared:
    if settings.data is not None and _is_mnist(Path(settings.data)):
        return _pictures(settings)
    parts, classes = _texts(settings)
    vocabulary = Vocabulary.build([text for text, _ in parts.train], min_count=settings.min_count, pad="<pad>")
    vectors = word2vec(settings, [text.split() for text, _ in parts.train])
    model = Classifier(vocabulary, classes, vectors=vectors, **_options(settings))
    return Prepared(
        model,
        _bucketed(settings, vocabulary, parts.train, shuffle=True),
        _bucketed(settings, vocabulary, parts.valid, shuffle=False),
        _bucketed(settings, vocabulary, parts.test, shuffle=False),
        fit={"monitor": "accuracy"},
        about={
            "texts to train, validate and test": ", ".join(f"{len(part):,}" for part in parts),
            "in the vocabulary": f"{len(vocabulary):,}",
            "classes": ", ".join(classes),
        },
    )


def samples(model: Classifier, prepared: Prepared) -> str:
    """Ten sequences of the test part with their true class and the model's most probable one."""
    rows: list[list[str]] = []
    for batch in prepared.test or prepared.valid or prepared.train:
        for row in range(min(len(batch.target), 10 - len(rows))):
            steps = batch.input[:, row] if batch.lengths is None else batch.input[: batch.lengths[row], row]
            text = f"picture {row}"
            if isinstance(model.inputs, Vocabulary):
                steps = [model.inputs.tokens[i] for i in steps.tolist()]
                text = " ".join(steps)
            found, chance = _classified(model, steps)[0]
            text = text if len(text) < 80 else f"{text[:77]}…"
            rows.append([cell(text), model.classes[batch.target[row]], found, f"{chance:.2f}"])
        if len(rows) >= 10:
            break
    return table(["", "class", "found", "probability"], rows, align="lllr")


def batches(settings: Settings, model: Classifier) -> Any:
    """What `fastrnn evaluate` measures: all of a CSV file, or MNIST's test part."""
    data = settings.given_data()
    if not isinstance(model.inputs, Vocabulary):
        found = readers.read_mnist(data)
        return _arrays(settings, found.test_images, found.test_labels, shuffle=False)
    texts, classes = _read(data)
    if missing := set(classes) - set(model.classes):
        raise ValueError(f"{data} has classes that the model does not know: {', '.join(sorted(missing))}")
    own = [(text, model.classes.index(classes[label])) for text, label in texts]
    return _bucketed(settings, model.inputs, own, shuffle=False)


def generate(model: Classifier, prompt: str | None, options: Generation) -> str:
    """The classes of a text with their probabilities."""
    if not isinstance(model.inputs, Vocabulary):
        raise ValueError("this model classifies pictures, not text; type fastrnn evaluate RUN --data FOLDER")
    prompt = EXAMPLE if prompt is None else prompt
    small = all(token == token.lower() for token in model.inputs.tokens)  # like the training texts
    found = model.classify(prompt.lower() if small else prompt)
    return "\n".join([prompt, *(f"{chance:6.3f} {name}" for name, chance in found)])


def _classified(model: Classifier, steps: Any) -> list[tuple[str, float]]:
    try:
        return model.classify(steps)
    except ValueError:  # no word is known
        return [("none of its words is known", 0.0)]


def _options(settings: Settings) -> dict[str, Any]:
    """The classifier's arguments. Pixels have no embedding and no words to drop."""
    options = settings.arguments_of(Classifier)
    if settings.channels is not None:
        options["convolution"] = {
            "channels": settings.channels,
            "kernel": settings.kernel,
            "stride": settings.stride,
        }
    if settings.data is not None and _is_mnist(Path(settings.data)):
        for name in ("embedding", "word_dropout", "frozen"):
            del options[name]
    return options


def _texts(settings: Settings) -> tuple[Parts, list[str]]:
    """The three parts: a tenth each to validate and test; docstrings are split by definition."""
    if settings.data is None:
        made = topics(seed=settings.seed)
        return Parts(made.train, made.valid, made.test), made.classes
    texts, classes = _read(settings.data)
    return Parts(*split(texts, (0.8, 0.1, 0.1), settings.seed)), classes


def _read(data: str) -> tuple[list[Text], list[str]]:
    path = Path(data)
    if path.is_dir() or path.suffix == ".zip":
        return readers.read_polarity(path), list(POLARITY)
    table = readers.read_table(path, text=("text", "label"), delimiter="\t" if path.suffix == ".tsv" else ",")
    classes = sorted(set(table["label"].tolist()))
    if len(classes) < 2:
        raise ValueError(f"{data} has only the label {classes[0]!r}; a classifier needs at least two")
    return list(zip(table["text"].tolist(), map(classes.index, table["label"].tolist()), strict=True)), classes


def _bucketed(settings: Settings, vocabulary: Vocabulary, texts: Sequence[Text], *, shuffle: bool) -> Bucketed:
    items = [(vocabulary.encode(text), label) for text, label in texts]
    return Bucketed(items, settings.batch, into=Labelled, pad=vocabulary.pad or 0, seed=settings.seed, shuffle=shuffle)


def _is_mnist(path: Path) -> bool:
    return path.is_dir() and any(path.glob("train-images*"))


def _pictures(settings: Settings) -> Prepared:
    """MNIST; the last twelfth of the training part, 5,000 pictures of 60,000, is for validation."""
    found = readers.read_mnist(settings.given_data())
    held = max(1, len(found.train_labels) // 12)
    images, labels = found.train_images, found.train_labels
    return Prepared(
        Classifier(1, [str(digit) for digit in range(10)], **_options(settings)),
        _arrays(settings, images[:-held], labels[:-held], shuffle=True),
        _arrays(settings, images[-held:], labels[-held:], shuffle=False),
        _arrays(settings, found.test_images, found.test_labels, shuffle=False),
        fit={"monitor": "accuracy"},
        about={"pictures to train, validate and test": f"{len(labels) - held:,}, {held:,}, {len(found.test_labels):,}"},
    )


def _arrays(settings: Settings, images: Any, labels: Any, *, shuffle: bool) -> Arrays:
    return Arrays(
        images,
        labels,
        settings.batch,
        pixels=True,
        permuted=0 if settings.permuted else None,
        scale=1 / 255,
        seed=settings.seed,
        shuffle=shuffle,
    )
