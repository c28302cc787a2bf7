"""Text to tokens and back: words, characters, or pieces of words from byte-pair encoding."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol

TOKENIZERS = ("words", "characters", "subwords")


class Tokenizer(Protocol):
    def split(self, text: str, eos: str | None) -> list[str]:
        """The tokens of a text."""

    def join(self, tokens: Sequence[str], eos: str | None) -> str:
        """The text of tokens; of the special ones they may include only ``eos`` and the unknown token."""


class Words:
    """Words separated by white space. A newline is ``eos``, if there is one."""

    def split(self, text: str, eos: str | None) -> list[str]:
        return (text if eos is None else text.replace("\n", f" {eos} ")).split()

    def join(self, tokens: Sequence[str], eos: str | None) -> str:
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == eos:
                lines.append([])
            else:
                lines[-1].append(token)
        if len(lines) > 1 and not lines[-1]:
            lines.pop()  # the last eos ends a line and does not begin one
        return "\n".join(" ".join(line) for line in lines)


class Characters:
    """Each Unicode character is a token, newlines and spaces included."""

    def split(self, text: str, eos: str | None) -> list[str]:
        return list(text)

    def join(self, tokens: Sequence[str], eos: str | None) -> str:
        return "".join(token for token in tokens if token != eos)


class Subwords:
    """Byte-pair encoding of UTF-8 bytes, by the ``tokenizers`` library. Any text can be encoded.

    No token crosses the end of a line, so a text has the same tokens whole and in parts.

    Args:
        definition: the library's JSON, as in a file ``tokenizer.json``.
    """

    def __init__(self, definition: str) -> None:
        library = _library()
        try:
            self._tokenizer = library.Tokenizer.from_str(definition)
        except Exception as error:  # the library raises no narrower class
            raise ValueError(f"not the JSON of a tokenizer, as in a file tokenizer.json: {error}") from error
        self.definition = definition

    @classmethod
    def trained(cls, texts: Iterable[str], size: int, min_count: int, special: Sequence[str]) -> Subwords:
        """Learn merges from texts until there are ``size`` tokens: ``special`` ones, 256 bytes and merges."""
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=min_count,
            special_tokens=list(special),
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator((line for text in texts for line in _lines(text)), trainer)
        return cls(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))

    @property
    def tokens(self) -> list[str]:
        """All tokens in the order of their ids."""
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        tokens = sorted(ids, key=ids.__getitem__)
        if [ids[token] for token in tokens] != list(range(len(tokens))):
            raise ValueError("the ids of the tokenizer have gaps, so it cannot be used as a vocabulary")
        return tokens

    def split(self, text: str, eos: str | None) -> list[str]:
        encoded = self._tokenizer.encode_batch(_lines(text), add_special_tokens=False)
        return [token for line in encoded for token in line.tokens]

    def join(self, tokens: Sequence[str], eos: str | None) -> str:
        ids = [self._tokenizer.token_to_id(token) for token in tokens if token != eos]
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _lines(text: str) -> list[str]:
    """The lines of a text, each with its newline."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _library() -> Any:
    try:
        return import_module("tokenizers")
    except ImportError as error:
        raise ImportError("subwords need the tokenizers library. Type: pip install tokenizers") from error


def tokenizer_named(name: str, subwords: str | None = None) -> Tokenizer:
    """The tokenizer with a name of ``TOKENIZERS``; ``subwords`` is the definition for subwords."""
    if name not in TOKENIZERS:
        raise ValueError(f"tokenizer must be one of {', '.join(map(repr, TOKENIZERS))}, got {name!r}")
    if (name == "subwords") != (subwords is not None):
        raise ValueError(
            f'subwords= (the JSON of a tokenizer) and tokenizer="subwords" go together, got tokenizer={name!r} '
            + ("without it" if subwords is None else "with it")
        )
    if subwords is not None:
        return Subwords(subwords)
    return Words() if name == "words" else Characters()
