"""What csrc/word2vec/bindings/ offers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, overload

import numpy as np

Buffer: TypeAlias = bytes | memoryview

WORDS_PER_SENTENCE: int
LONGEST_WORD: int
MOST_THREADS: int
MOST_NEGATIVES: int
LINE: int

def forked() -> bool: ...
def cut(text: Buffer, is_last: bool, piece_size: int) -> list[int]: ...

class WordCounter:
    is_too_large: bool
    total_words: int
    sentences: int
    def __init__(self, threads: int, max_size: int) -> None: ...
    def count(self, text: Buffer, cuts: list[int]) -> None: ...
    def count_sentences(self, sentences: Iterable[Sequence[str]]) -> None: ...
    def finish(self, min_count: int) -> tuple[list[str], np.ndarray]: ...

class WordEncoder:
    def __init__(self, keys: list[str]) -> None: ...
    def encode(self, text: Buffer, cuts: list[int], threads: int) -> list[tuple[np.ndarray, np.ndarray]]: ...
    def encode_sentences(
        self, sentences: Iterator[Sequence[str]], max_words: int
    ) -> tuple[np.ndarray, np.ndarray] | None: ...

class PhraseOptions:
    def __init__(
        self,
        min_count: float,
        threshold: float,
        max_size: int,
        delimiter: str,
        npmi: bool,
        connectors: list[str],
    ) -> None: ...

class PhraseCounter:
    def __init__(self, options: PhraseOptions, threads: int) -> None: ...
    def count(self, text: Buffer, cuts: list[int]) -> None: ...
    def count_sentences(self, sentences: Iterable[Sequence[str]]) -> None: ...

class Phrases:
    size: int
    total_words: int
    least: int
    def __init__(self, options: PhraseOptions) -> None: ...
    def add(self, counter: PhraseCounter) -> None: ...
    def score(self, first: str, last: str, joined: str) -> float: ...
    def phrases(self) -> dict[str, float]: ...
    def counts(self) -> tuple[list[str], list[int]]: ...
    def restore(self, words: list[str], counts: list[int], total_words: int, least: int) -> None: ...

class PhraseJoiner:
    @overload
    def __init__(self, phrases: Phrases) -> None: ...
    @overload
    def __init__(self, delimiter: str, connectors: list[str], phrases: list[str]) -> None: ...
    def join_sentence(self, sentence: Iterable[str]) -> list[str]: ...
    def join_sentences(self, sentences: Iterator[Sequence[str]], threads: int) -> list[list[str]]: ...
    def join_text(self, text: Buffer, cuts: list[int], threads: int) -> list[bytes]: ...
    def phrases_of(self, sentence: Iterable[str]) -> list[tuple[str, str, str]]: ...

def train_epoch(
    ids: np.ndarray,
    offsets: np.ndarray,
    syn0: np.ndarray,
    syn1: np.ndarray | None,
    syn1neg: np.ndarray | None,
    keep: np.ndarray,
    alias: np.ndarray | None,
    paths: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    lock: np.ndarray | None,
    skip_gram: bool,
    cbow_mean: bool,
    shrink_windows: bool,
    window: int,
    negative: int,
    key: int,
    alpha_begin: float,
    alpha_end: float,
    workers: int,
    deterministic: bool,
    progress: Callable[[int, float, int], None] | None,
) -> tuple[float, int]: ...
