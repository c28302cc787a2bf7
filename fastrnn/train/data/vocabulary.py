"""The vocabulary: tokens and their ids."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fastrnn.train.data.counting import as_text, count_tokens
from fastrnn.train.data.tokenizing import Subwords, tokenizer_named

SPECIAL = ("pad", "unknown", "bos", "eos")


class Vocabulary:
    """Tokens and their ids, 0 to V-1.

    Args:
        tokens: all tokens in the order of their ids, special ones included.
        tokenizer: how :meth:`encode` splits a text: ``"words"`` at white space, where a newline is ``eos`` if there is
            one; ``"characters"``; or ``"subwords"``.
        unknown: the token for all tokens outside the vocabulary; without one they are errors.
        bos, eos: the tokens that begin and end a sequence.
        pad: the token that pads shorter sequences of a batch.
        subwords: the JSON of a tokenizer of the ``tokenizers`` library, with ``tokenizer="subwords"``.

    Attributes:
        tokens: list of str.
        unknown, bos, eos, pad: the ids of the special tokens, or None.

    Raises:
        ValueError: a token occurs twice, a special token is not among them, or there are no tokens.
        TypeError: a token is not a str.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        tokenizer: str = "words",
        unknown: str | None = None,
        bos: str | None = None,
        eos: str | None = None,
        pad: str | None = None,
        subwords: str | None = None,
    ) -> None:
        if isinstance(tokens, str):
            raise TypeError("tokens must be a list of str, got one str. For a text, use Vocabulary.build")
        self.tokens = list(tokens)
        self.tokenizer, self.subwords = tokenizer, subwords
        self._split_join = tokenizer_named(tokenizer, subwords)
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        _check_tokens(self.tokens, self._ids)
        special = {"pad": pad, "unknown": unknown, "bos": bos, "eos": eos}
        for name, token in special.items():
            if token is not None and token not in self._ids:
                raise ValueError(f"{name}={token!r} is not among the tokens; add it, or use Vocabulary.build")
        if eos is not None and tokenizer == "words" and eos.split() != [eos]:
            raise ValueError(f"eos={eos!r} must be one word, since it stands for a newline")
        self._special = special
        self.pad, self.unknown, self.bos, self.eos = (
            None if token is None else self._ids[token] for token in special.values()
        )

    @classmethod
    def build(
        cls,
        texts: str | Iterable[str | Sequence[str]] | Mapping[str, int],
        *,
        tokenizer: str = "words",
        max_size: int | None = None,
        min_count: int = 1,
        unknown: str | None = "<unk>",
        bos: str | None = None,
        eos: str | None = None,
        pad: str | None = None,
    ) -> Vocabulary:
        """Build a vocabulary from texts: first the special tokens, then the others by falling count, equal counts
        sorted.

        Args:
            texts: a text; or an iterable of texts (str) and lists of tokens (sequences of str); or the counts of
                tokens. An iterator is read once and not kept.
            max_size: maximum number of tokens, special ones included. Subwords: the number to learn, by default 8000.
            min_count: minimum count of a token. Subwords: minimum count of a pair that is merged.

        Raises:
            ValueError: there are no tokens, or some are dropped and there is no ``unknown`` to replace them.
            TypeError: an item is neither text nor tokens.
        """
        if isinstance(texts, (bytes, os.PathLike)):
            raise TypeError(f"expected texts or tokens, got {type(texts).__name__}; read the file first")
        special = list(dict.fromkeys(token for token in (pad, unknown, bos, eos) if token is not None))
        names = {"unknown": unknown, "bos": bos, "eos": eos, "pad": pad}
        if max_size is not None and max_size <= len(special):
            raise ValueError(f"max_size={max_size} leaves no room beside {len(special)} special tokens")
        if tokenizer == "subwords":
            if isinstance(texts, Mapping):
                raise TypeError("subwords are learned from texts, got counts of tokens")
            whole = [texts] if isinstance(texts, str) else (as_text(each) for each in texts)
            learned = Subwords.trained(whole, max_size or 8000, min_count, special)
            return cls(learned.tokens, tokenizer=tokenizer, subwords=learned.definition, **names)

        counts = count_tokens(texts, tokenizer, eos)
        if not counts:
            raise ValueError("the texts are empty, so there is no vocabulary to build")
        others = [token for token in counts if token not in special]
        others.sort(key=lambda token: (-counts[token], token))
        kept = [token for token in others if counts[token] >= min_count]
        if max_size is not None:
            kept = kept[: max_size - len(special)]
        if len(kept) < len(others) and unknown is None:
            raise ValueError(
                f"max_size={max_size} and min_count={min_count} leave out {len(others) - len(kept)} tokens, "
                'but there is no token to replace them; pass unknown="<unk>"'
            )
        return cls(special + kept, tokenizer=tokenizer, **names)

    @classmethod
    def from_tokenizer_file(cls, file: str | os.PathLike[str], **special: str | None) -> Vocabulary:
        """The vocabulary of a ``tokenizer.json`` of the ``tokenizers`` library.

        Args:
            special: unknown, bos, eos and pad, as for the class; they must be among the file's tokens.
        """
        subwords = Subwords(Path(file).read_text(encoding="utf-8"))
        return cls(subwords.tokens, tokenizer="subwords", subwords=subwords.definition, **special)

    def encode(self, text: str | Sequence[str], *, ends: bool = False) -> list[int]:
        """The ids of a text, or of tokens.

        Args:
            ends: put ``bos`` before and ``eos`` after them, if they exist.

        Raises:
            ValueError: a token is not in the vocabulary, and there is no ``unknown``.
        """
        tokens = self.split(text) if isinstance(text, str) else _checked(text)
        if self.unknown is None:
            try:
                ids = list(map(self._ids.__getitem__, tokens))
            except KeyError:
                place = next(i for i, token in enumerate(tokens) if token not in self._ids)
                line = f", line {self._line(text, place)}" if isinstance(text, str) and "\n" in text else ""
                raise self.never_seen(tokens[place], f", token {place + 1}{line} of the text") from None
        else:
            unknown, known = self.unknown, self._ids.get
            ids = [known(token, unknown) for token in tokens]
        if ends:
            before, after = ([] if i is None else [i] for i in (self.bos, self.eos))
            return before + ids + after
        return ids

    def split(self, text: str) -> list[str]:
        """The tokens of a text."""
        return self._split_join.split(text, self._special["eos"])

    def decode(self, ids: Iterable[int] | torch.Tensor) -> str:
        """The text of ids (N,): words with spaces between them, or characters, without ``bos`` and ``pad``.

        ``eos`` between words becomes a newline; otherwise it is removed.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        wrong = next((i for i in listed if not 0 <= i < len(self.tokens)), None)
        if wrong is not None:
            raise ValueError(f"ids must be from 0 to {len(self.tokens) - 1}, got {wrong}")
        tokens = [self.tokens[i] for i in listed if i not in (self.bos, self.pad)]
        return self._split_join.join(tokens, self._special["eos"])

    def id(self, token: str) -> int:
        """The id of a token, or that of ``unknown``. Raises ValueError if there is neither."""
        found = self._ids.get(token, self.unknown)
        if found is None:
            raise self.never_seen(token, "")
        return found

    def config(self) -> dict[str, Any]:
        """JSON that :meth:`from_config` creates the same vocabulary from."""
        config = {"tokens": self.tokens, "tokenizer": self.tokenizer, **self._special}
        return config if self.subwords is None else {**config, "subwords": self.subwords}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Vocabulary:
        if "tokens" not in config:
            raise ValueError(
                f"the config of a vocabulary must have tokens, got {', '.join(map(repr, config)) or 'nothing'}"
            )
        return cls(**config)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.config() == other.config()

    __hash__ = None  # type: ignore[assignment]  # it has lists

    def __repr__(self) -> str:
        special = "".join(f", {name}={token!r}" for name, token in self._special.items() if token is not None)
        return f"Vocabulary({len(self)} {self.tokenizer}{special})"

    def never_seen(self, token: str, place: str = "") -> ValueError:
        """The error for an unknown token, with the closest known one."""
        near = difflib.get_close_matches(token, self.tokens, 1) or [t for t in self.tokens if t == token.swapcase()]
        nearest = f"; the closest is {near[0]!r}" if near else ""
        return ValueError(
            f"{token!r}{place and f'{place},'} is not in the vocabulary of {len(self)} tokens{nearest}. "
            'A vocabulary built with unknown="<unk>" accepts any token'
        )

    def _line(self, text: str, place: int) -> int:
        """The line, from 1, of a text's token."""
        if self.tokenizer == "characters":
            return text.count("\n", 0, place) + 1
        seen = 0
        for number, line in enumerate(text.split("\n"), 1):
            seen += len(self.split(line + "\n"))
            if place < seen:
                return number
        return number


def _checked(tokens: Sequence[str]) -> Sequence[str]:
    other = next((token for token in tokens if not isinstance(token, str)), None)
    if other is not None:
        raise TypeError(f"expected a text or tokens (str), got the token {other!r}")
    return tokens


def _check_tokens(tokens: list[str], ids: Mapping[str, int]) -> None:
    if not tokens:
        raise ValueError("a vocabulary needs at least one token, got none")
    other = next((token for token in tokens if not isinstance(token, str)), None)
    if other is not None:
        raise TypeError(f"the tokens of a vocabulary must be str, got {other!r}")
    if len(ids) < len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise ValueError(f"the token {twice!r} is in the vocabulary twice")
