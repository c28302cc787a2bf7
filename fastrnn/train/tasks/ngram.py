"""The baseline of language models: n-grams of Python's documentation or of your own text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastrnn.train.data.language_batches import LanguageBatches
from fastrnn.train.data.made.documentation import documentation, documentation_words
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.ngram import NGram
from fastrnn.train.models.smoothing import METHODS
from fastrnn.train.tasks import chars, language, lm
from fastrnn.train.tasks.settings import TaskSettings, setting
from fastrnn.train.tasks.task import Prepared

STEPS = 1 << 14  # tokens looked up at once


@dataclass(frozen=True, kw_only=True)
class Settings(TaskSettings):
    """Words are separated by white space, and a line is a sentence; or every character is a token."""

    data: str | None = setting(
        None, "A text, which is split; or a folder of three texts; by default Python's documentation."
    )
    tokenizer: str = setting("words", "What a token is.", choices=("words", "characters"))
    order: int = setting(5, "Length of the longest n-gram: 3 for trigrams.", least=1)
    smoothing: str = setting("kneser-ney", "Smoothing method.", choices=METHODS)
    cross_sentences: bool = setting(False, "Let histories cross the ends of sentences.")
    min_count: int | None = setting(
        None, "Minimum count of a token; by default 2 for words, 1 for characters.", least=1
    )
    max_vocabulary: int | None = setting(
        None, "Maximum size of the vocabulary; the most frequent tokens are kept.", least=2
    )
    valid_share: float = setting(0.05, "Share of a single text to validate on.", least=0)
    test_share: float = setting(0.05, "Share of a single text to test on.", least=0)
    pieces: int = setting(
        1, "Cut the text into this many pieces and take the validation and test parts from the end of each.", least=1
    )


def prepare(settings: Settings) -> Prepared:
    words = settings.tokenizer == "words"
    valid, test = settings.valid_share, settings.test_share
    if settings.data is not None:
        corpus = language.read(settings.data, (1 - valid - test, valid, test), settings.pieces)
    else:
        corpus = documentation_words() if words else documentation(docstrings=False)
    vocabulary = Vocabulary.build(
        corpus.train,
        tokenizer=settings.tokenizer,
        max_size=settings.max_vocabulary,
        min_count=settings.min_count or (2 if words else 1),
        eos="<eos>" if words else None,
    )
    train = np.array(vocabulary.encode(corpus.train))
    return Prepared(
        NGram(vocabulary, settings.order, settings.smoothing, cross_sentences=settings.cross_sentences),
        train,
        None if corpus.valid is None else np.array(vocabulary.encode(corpus.valid)),
        None if corpus.test is None else language.whole(vocabulary, corpus.test, STEPS),
        about={f"{settings.tokenizer} to count": f"{len(train):,}", "in the vocabulary": f"{len(vocabulary):,}"},
    )


def count(prepared: Prepared, settings: Settings) -> None:
    """Counts the text. Parameters of the smoothing are chosen on the validation text."""
    model: NGram = prepared.model
    model.count(prepared.train)
    if settings.smoothing in ("add-k", "interpolated") and prepared.valid is not None:
        model.tune(prepared.valid)


def batches(settings: Settings, model: NGram) -> LanguageBatches:
    """What `fastrnn evaluate` measures: all of a file, or the test text of a folder."""
    return language.whole(model.vocabulary, language.text_to_evaluate(settings.given_data()), STEPS)


def samples(model: NGram, prepared: Prepared) -> str:
    """The number of n-grams, and a sample."""
    task = lm if model.vocabulary.tokenizer == "words" else chars
    return f"The model has {model.parameters_count:,} n-grams. {task.samples(model, prepared)}"
