"""Tags each token: its role in a line of Python, or chunks of CoNLL-2000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrnn.train.data.batch import Tagged
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.made.python_tokens import python_tokens, tagged
from fastrnn.train.data.readers import read_columns, read_conll2000
from fastrnn.train.data.splitting import split
from fastrnn.train.models.columns import Columns
from fastrnn.train.models.tagger import Tagger
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared
from fastrnn.train.tasks.vectors import word2vec

Sentence = tuple[Sequence[str], ...]  # its columns, the tags last
EXAMPLE = "for type in cache.get(name, default=type): match(type)"


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Words with further columns and spelling features; see :class:`fastrnn.train.models.Tagger`."""

    data: str | None = setting(
        None,
        "A file with a token and its columns on each line, the tag last; or CoNLL-2000's folder or .zip. By default "
        "lines of Python's own library.",
    )
    columns: Sequence[str] = setting(("word",), "Names of the columns before the tag, such as word and pos.")
    spelling: Sequence[str] = setting(
        ("lower", "prefix2", "prefix3", "suffix2", "suffix3", "suffix4", "shape"), "Spelling features of a word."
    )
    hidden: int = setting(128, "Hidden units of each layer and direction.", least=1)
    dropout: float = setting(0.3, "Dropout of embeddings, between layers and after them.", least=0)
    epochs: int = setting(15, "Number of passes over the data.", least=1)
    schedule: Mapping[str, Any] | str | None = setting(
        "cosine", 'Learning rate schedule: a name, or a table such as {name = "decay", factor = 0.5, after = 4}.'
    )
    clip: float | None = setting(5.0, "Maximum norm of the gradient.", least=0)
    bidirectional: bool = setting(True, "Read in both directions.")
    embedding: int = setting(100, "Size of a word's embedding.", least=1)
    column_embedding: int = setting(25, "Size of the embedding of every other column.", least=1)
    word_dropout: float = setting(0.05, "Probability of replacing a word by the unknown token in training.", least=0)
    word2vec: int = setting(
        0, "Epochs of Word2Vec on the training text that initialise the embedding; 0 for none.", least=0
    )
    min_count: int = setting(1, "Minimum count of an entry in its vocabulary.", least=1)
    crf: bool = setting(True, "Score whole tag sequences with a CRF.")


def prepare(settings: Settings) -> Prepared:
    names, (train, valid, test) = _parts(settings)
    columns = Columns.build([each[:-1] for each in train], names, settings.spelling, settings.min_count)
    tags = sorted({tag for part in (train, valid, test) for *_, own in part for tag in own})
    vectors = word2vec(settings, [each[0] for each in train])
    model = Tagger(columns, tags, vectors=vectors, **settings.arguments_of(Tagger))
    return Prepared(
        model,
        _bucketed(settings, model, train, shuffle=True),
        _bucketed(settings, model, valid, shuffle=False),
        _bucketed(settings, model, test, shuffle=False),
        fit={"monitor": "f1" if model.chunking else "accuracy"},
        about={
            "sentences to train, validate and test": f"{len(train):,}, {len(valid):,}, {len(test):,}",
            "tags": ", ".join(tags),
            "accuracy of each word's most frequent tag": f"{_most_frequent(train, test):.4f}",
        },
    )


def samples(model: Tagger, prepared: Prepared) -> str:
    """Five sentences of the test part with their tags; a wrong tag of the model follows the true one."""
    shown: list[str] = []
    words = next(iter(model.columns.vocabularies.values())).tokens
    for batch in prepared.test or prepared.valid or prepared.train:
        found = model.predict(batch.input, batch.lengths)
        for row in range(min(len(batch.lengths), 5 - len(shown))):
            steps = range(int(batch.lengths[row]))
            names = [(model.tags[batch.target[step, row]], model.tags[found[step, row]]) for step in steps]
            shown.append(
                " ".join(
                    f"{words[batch.input[step, row, 0]]}`{true}`" + (f" (found: `{own}`)" if own != true else "")
                    for step, (true, own) in zip(steps, names, strict=True)
                )
            )
        if len(shown) == 5:
            break
    return "\n\n".join(f"> {line}" for line in shown)


def batches(settings: Settings, model: Tagger) -> Bucketed:
    """What `fastrnn evaluate` measures: a whole file, or CoNLL-2000's test part."""
    data = settings.given_data()
    sentences = _conll(data)[1] if _is_conll(data) else _sentences(settings)
    if missing := {tag for *_, own in sentences for tag in own} - set(model.tags):
        raise ValueError(f"{data} has tags that the model does not know: {', '.join(sorted(missing))}")
    return _bucketed(settings, model, sentences, shuffle=False)


def generate(model: Tagger, prompt: str | None, options: Generation) -> str:
    """The tokens of a sentence with their tags. Further columns follow in their order after tabs."""
    if prompt is None:
        prompt = EXAMPLE if "keyword" in model.tags else None
        if prompt is None:
            raise ValueError('this model needs a sentence to tag; type --prompt "words of a sentence"')
    given: list[Any] = list(prompt.split("\t"))
    if "keyword" in model.tags and len(given) == 1:
        with suppress(SyntaxError):  # it is not Python: tokens separated by spaces
            given = [[word for line in tagged(prompt) for word in line.words]]
    return "\n".join(f"{tag:12} {word}" for word, tag in model.tag(*given))


def _parts(settings: Settings) -> tuple[Sequence[str], list[list[Sentence]]]:
    """The names of the columns before the tag, and the sentences for training, validation and test."""
    if settings.data is None:
        return ("word",), [list(part) for part in python_tokens(seed=settings.seed)]
    if _is_conll(settings.data):
        train, test = _conll(settings.data)
        return ("word", "pos"), [*split(train, (0.9, 0.1), settings.seed), test]
    return settings.columns, split(_sentences(settings), (0.8, 0.1, 0.1), settings.seed)


def _is_conll(data: str) -> bool:
    return Path(data).is_dir() or data.endswith(".zip")


def _conll(data: str) -> tuple[list[Sentence], list[Sentence]]:
    read = read_conll2000(data)
    return [tuple(each) for each in read.train], [tuple(each) for each in read.test]


def _sentences(settings: Settings) -> list[Sentence]:
    return [tuple(each) for each in read_columns(settings.given_data(), len(settings.columns) + 1)]


def _bucketed(settings: Settings, model: Tagger, sentences: Sequence[Sentence], *, shuffle: bool) -> Bucketed:
    ids = {tag: i for i, tag in enumerate(model.tags)}
    items = [(model.columns.encode(each[:-1]), [ids[tag] for tag in each[-1]]) for each in sentences]
    return Bucketed(items, settings.batch, into=Tagged, columns=True, seed=settings.seed, shuffle=shuffle)


def _most_frequent(train: Sequence[Sentence], test: Sequence[Sentence]) -> float:
    """The test accuracy of giving each word its most frequent tag in training: a baseline without context."""
    counts: dict[str, dict[str, int]] = {}
    for sentence in train:
        for word, tag in zip(sentence[0], sentence[-1], strict=True):
            own = counts.setdefault(word, {})
            own[tag] = own.get(tag, 0) + 1
    overall: dict[str, int] = {}
    for own in counts.values():
        for tag, count in own.items():
            overall[tag] = overall.get(tag, 0) + count
    best = {word: max(own, key=lambda tag: own[tag]) for word, own in counts.items()}
    default = max(overall, key=lambda tag: overall[tag])
    pairs = [pair for sentence in test for pair in zip(sentence[0], sentence[-1], strict=True)]
    return sum(best.get(word, default) == tag for word, tag in pairs) / len(pairs)
