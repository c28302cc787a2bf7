"""A language model of words, of Python's documentation or of your own text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastrnn._markdown import cell, table
from fastrnn.train.data.made.documentation import documentation_words
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.prediction import Predictor
from fastrnn.train.tasks import language
from fastrnn.train.tasks.language import LanguageSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Prepared

PROMPT = "this is a"
TOKENIZERS = ("words", "subwords")  # characters have their own task


@dataclass(frozen=True, kw_only=True)
class Settings(LanguageSettings):
    """Words are separated by white space, and a line is a sentence."""

    dropout: float = setting(0.4, "Dropout before, between and after the layers.", least=0)
    batch: int = setting(20, "Texts side by side.", least=1)
    epochs: int = setting(12, "Number of passes over the data.", least=1)
    lr: float = setting(3e-3, "Initial learning rate.", least=0)
    clip: float | None = setting(1.0, "Maximum norm of the gradient.", least=0)
    tokenizer: str = setting("words", "What a token is; subwords need: pip install tokenizers.", choices=TOKENIZERS)
    min_count: int = setting(2, "Minimum count of a word in the vocabulary.", least=1)
    vectors: str | None = setting(None, "File of initial word vectors in word2vec's format.")
    frozen: bool = setting(False, "Do not train the word vectors.")


def prepare(settings: Settings) -> Prepared:
    corpus = documentation_words() if settings.data is None else language.read(settings.data, (0.9, 0.05, 0.05))
    vocabulary = Vocabulary.build(
        corpus.train,
        tokenizer=settings.tokenizer,
        max_size=settings.max_vocabulary,
        min_count=settings.min_count,
        eos="<eos>" if settings.tokenizer == "words" else None,  # subwords include the newline
    )
    return language.prepare(settings, corpus, vocabulary, vectors=_vectors(settings.vectors))


def samples(model: Predictor, prepared: Prepared) -> str:
    """The next word after a prompt, and three sentences that begin with it."""
    known = all(word in model.vocabulary for word in model.vocabulary.split(PROMPT))
    prompt = PROMPT if known else model.vocabulary.tokens[2]
    rows = [[cell(token), f"{probability:.3f}"] for token, probability in model.next(prompt, top=5)]
    sentences = model.complete(prompt, n=3, length=40, temperature=0.7, seed=0)
    quoted = ["> " + sentence.replace("\n", "\n> ") for sentence in sentences]
    return "\n\n".join([f"After “{prompt}”:", table(["next", "probability"], rows), *quoted])


batches = language.batches


def _vectors(file: str | None) -> Any:
    if file is None:
        return None
    from fastrnn.word2vec import KeyedVectors

    return KeyedVectors.load_word2vec_format(file, binary=file.endswith(".bin"))
