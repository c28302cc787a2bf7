"""The inputs of a tagger for each token: columns such as word and part of speech, and features of the spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fastrnn.train.data.vocabulary import Vocabulary

Sentence = Sequence[Sequence[str]]  # its columns, each with a string for every token

_RUNS = ((re.compile("[A-Z]+"), "A"), (re.compile("[a-z]+"), "a"), (re.compile("[0-9]+"), "0"))


def shape(word: str) -> str:
    """The word with runs of capital letters, small letters and digits as A, a and 0: "McDonald's" is "AaAa'a"."""
    for run, sign in _RUNS:
        word = run.sub(sign, word)
    return word


def _prefix(n: int, word: str) -> str:
    return word[:n].lower()


def _suffix(n: int, word: str) -> str:
    return word[-n:].lower()


# Features that can be derived from the first column, by their names in a configuration.
SPELLING: Mapping[str, Callable[[str], str]] = {
    "lower": str.lower,
    "shape": shape,
    **{f"prefix{n}": partial(_prefix, n) for n in range(1, 6)},
    **{f"suffix{n}": partial(_suffix, n) for n in range(1, 6)},
}


class Columns:
    """The vocabularies of the given columns, and of the spelling features of the first.

    Args:
        vocabularies: by name: first the given columns in their order, then any of :data:`SPELLING`.

    Raises:
        ValueError: a spelling feature is unknown, or there is no given column.
    """

    def __init__(self, vocabularies: Mapping[str, Vocabulary]):
        self.vocabularies = dict(vocabularies)
        self.spelling = [name for name in self.vocabularies if name in SPELLING]
        self.given = [name for name in self.vocabularies if name not in SPELLING]
        if not self.given or [*self.given, *self.spelling] != list(self.vocabularies):
            raise ValueError(
                f"got the columns {list(self.vocabularies)}; name those of the data first, at least one, "
                f"then any of {', '.join(SPELLING)}"
            )

    @classmethod
    def build(
        cls,
        sentences: Iterable[Sentence],
        given: Sequence[str] = ("word",),
        spelling: Sequence[str] = ("suffix2", "suffix3", "shape"),
        min_count: int = 1,
    ) -> Columns:
        """The columns of these sentences. Entries with fewer than ``min_count`` occurrences are unknown."""
        for name in spelling:
            if name not in SPELLING:
                raise ValueError(f"unknown spelling feature {name!r}; use any of {', '.join(SPELLING)}")
        tokens: dict[str, list[str]] = {name: [] for name in (*given, *spelling)}
        for sentence in sentences:
            if len(sentence) != len(given):
                raise ValueError(
                    f"expected {len(given)} columns ({', '.join(given)}), got a sentence with {len(sentence)}"
                )
            for name, column in zip(given, sentence, strict=True):
                tokens[name].extend(column)
        for name in spelling:
            tokens[name] = [SPELLING[name](word) for word in tokens[given[0]]]
        return cls(
            {
                name: Vocabulary.build([column], min_count=min_count, pad="<pad>", unknown="<unk>")
                for name, column in tokens.items()
            }
        )

    def encode(self, sentence: Sentence) -> Tensor:
        """The ids (T, C), int64, of a sentence's columns and spelling features.

        Raises:
            ValueError: the number of columns is wrong, or their lengths differ.
        """
        if len(sentence) != len(self.given):
            raise ValueError(
                f"the model reads {len(self.given)} columns ({', '.join(self.given)}), got {len(sentence)}"
            )
        sizes = [len(column) for column in sentence]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"the columns {', '.join(self.given)} have {sizes} tokens; all columns need the same number"
            )
        spelled = [[SPELLING[name](word) for word in sentence[0]] for name in self.spelling]
        ids = [
            vocabulary.encode(list(column))
            for vocabulary, column in zip(self.vocabularies.values(), (*sentence, *spelled), strict=True)
        ]
        return torch.tensor(ids, dtype=torch.int64).reshape(len(ids), -1).T

    def config(self) -> dict[str, Any]:
        return {name: vocabulary.config() for name, vocabulary in self.vocabularies.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Columns:
        return cls({name: Vocabulary.from_config(one) for name, one in config.items()})
