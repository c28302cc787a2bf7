"""Shared by the tasks lm and chars: the settings of a language model and its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrnn.train.data.language_batches import LanguageBatches
from fastrnn.train.data.readers.text import Corpus, read_corpus, read_text
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.language_model import LanguageModel
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Prepared


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(FitSettings):
    """A recurrent language model and how to train it; see :class:`fastrnn.train.models.LanguageModel`."""

    data: str | None = setting(
        None, "A text, split into 90, 5 and 5 %; or a folder of three texts; by default Python's documentation."
    )
    hidden: int | tuple[int, ...] = setting(  # type: ignore[assignment]  # wider than in other tasks
        256, "Hidden units of each layer; a list has a number for each.", least=1
    )
    dropout: float = setting(0.0, "Dropout before, between and after the layers.", least=0)
    embedding: int = setting(128, "Size of a token's embedding.", least=1)
    schedule: Mapping[str, Any] | str | None = setting(
        "cosine", 'Learning rate schedule: a name, or a table such as {name = "decay", factor = 0.5, after = 4}.'
    )
    steps: int = setting(35, "Tokens that gradients go back.", least=1)
    stateful: bool = setting(True, "Carry the state from window to window; false starts each from zeros.")
    jitter: float = setting(0.0, "Standard deviation of the window length, as in AWD-LSTM.", least=0)
    locked_dropout: float | tuple[float, ...] = setting(
        0.0, "Dropout with one mask for all steps: one number, or three for input, between layers and output."
    )
    embedding_dropout: float = setting(0.0, "Probability of zeroing a token's embedding in a whole batch.", least=0)
    weight_drop: float = setting(0.0, "Dropout of the recurrent weights.", least=0)
    tied: bool = setting(False, "Use the embedding as the matrix of the softmax too.")
    softmax: str = setting("full", "Softmax over the vocabulary.", choices=("full", "adaptive"))
    cutoffs: tuple[int, ...] | None = setting(None, "First token of each cluster of the adaptive softmax.")
    one_hot: bool = setting(False, "Feed tokens to the first layer as one-hot vectors instead of embeddings.")
    init_uniform: float | None = setting(None, "Initialise all weights uniformly from -u to u.", least=0)
    activation_penalty: float = setting(0.0, "Weight of the mean square of the output in the loss.", least=0)
    temporal_penalty: float = setting(
        0.0, "Weight of the mean square of the output's change from step to step in the loss.", least=0
    )
    max_vocabulary: int | None = setting(
        None, "Maximum size of the vocabulary; the most frequent tokens are kept.", least=2
    )
    min_count: int = setting(1, "Minimum count of a token in the vocabulary.", least=1)


def read(data: str, shares: tuple[float, float, float], pieces: int = 1) -> Corpus:
    """A folder or .zip of three texts, or one text that is split."""
    path = Path(data)
    return read_corpus(path) if path.is_dir() or path.suffix == ".zip" else read_text(path, shares, pieces=pieces)


def prepare(settings: LanguageSettings, corpus: Corpus, vocabulary: Vocabulary, **options: Any) -> Prepared:
    """The model and its windows. The test text is one row, so that every token is predicted."""
    model = LanguageModel(vocabulary, **settings.arguments_of(LanguageModel) | options)
    train = vocabulary.encode(corpus.train)
    valid = None if corpus.valid is None else vocabulary.encode(corpus.valid)
    unit = vocabulary.tokenizer
    return Prepared(
        model,
        LanguageBatches(train, settings.batch, settings.steps, jitter=settings.jitter, seed=settings.seed),
        None if valid is None else LanguageBatches(valid, max(1, min(settings.batch, len(valid) - 1)), settings.steps),
        None if corpus.test is None else whole(vocabulary, corpus.test, settings.steps * settings.batch),
        about={
            f"{unit} to train on": f"{len(train):,}",
            "in the vocabulary": f"{len(vocabulary):,}",
            "parameters": f"{model.parameters_count:,}",
        },
    )


def whole(vocabulary: Vocabulary, text: str, steps: int) -> LanguageBatches:
    """A text as windows of one row, after the token that precedes a text."""
    start = vocabulary.eos if vocabulary.bos is None else vocabulary.bos
    ids = vocabulary.encode(text)
    return LanguageBatches(ids if start is None else [start, *ids], 1, steps)


def batches(settings: LanguageSettings, model: LanguageModel) -> LanguageBatches:
    """What `fastrnn evaluate` measures: a whole file, or the test text of a folder."""
    return whole(model.vocabulary, text_to_evaluate(settings.given_data()), settings.steps * settings.batch)


def text_to_evaluate(data: str) -> str:
    """A whole file, or the test text of a folder."""
    path = Path(data)
    corpus = read(data, (1.0, 0.0, 0.0))
    return (corpus.test if path.is_dir() or path.suffix == ".zip" else corpus.train) or ""
