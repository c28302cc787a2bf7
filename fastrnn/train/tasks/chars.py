"""A language model of characters, of Python's documentation or of your own text."""

from __future__ import annotations

from dataclasses import dataclass

from fastrnn.train.data.made.documentation import documentation
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.prediction import Predictor
from fastrnn.train.tasks import language
from fastrnn.train.tasks.language import LanguageSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Prepared


@dataclass(frozen=True, kw_only=True)
class Settings(LanguageSettings):
    """Every character is a token, white space included."""

    embedding: int = setting(64, "Size of a character's embedding.", least=1)
    steps: int = setting(64, "Characters that gradients go back.", least=1)
    lr: float = setting(4e-3, "Initial learning rate.", least=0)
    clip: float | None = setting(1.0, "Maximum norm of the gradient.", least=0)
    valid_share: float = setting(0.05, "Share of a single text to validate on.", least=0)
    test_share: float = setting(0.05, "Share of a single text to test on.", least=0)
    pieces: int = setting(
        1, "Cut the text into this many pieces and take the validation and test parts from the end of each.", least=1
    )


def prepare(settings: Settings) -> Prepared:
    if settings.data is None:
        corpus = documentation(docstrings=False)
    else:
        valid, test = settings.valid_share, settings.test_share
        corpus = language.read(settings.data, (1 - valid - test, valid, test), settings.pieces)
    vocabulary = Vocabulary.build(
        corpus.train, tokenizer="characters", max_size=settings.max_vocabulary, min_count=settings.min_count
    )
    return language.prepare(settings, corpus, vocabulary)


def samples(model: Predictor, prepared: Prepared) -> str:
    """How the model continues a line break, or the most frequent character."""
    prompt = "\n" if "\n" in model.vocabulary else model.vocabulary.tokens[1]
    text = model.complete(prompt, length=400, temperature=0.7, seed=0).strip("\n")
    return f"A sample:\n\n```\n{text}\n```"


batches = language.batches
