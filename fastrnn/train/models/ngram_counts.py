"""The counts of n-grams, from single words to ``order`` words, in sorted arrays.

The n-grams of one length are a level of a tree. An n-gram's parent is the n-gram without its last word, so its key is
one integer, ``parent * V + word``, where ``parent`` is an index into the previous level. Keys are sorted, so n-grams
with the same history are adjacent, and one binary search looks up all words of a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

UNSEEN = -1  # this history never occurred
ABSENT = -2  # there is no history of this length, since the text or the sentence begins later
BLOCK = 1 << 22  # tokens counted at once; 9 million tokens with 25 million 1- to 5-grams take 1.8 GiB at the peak


class NGramCounts:
    """The counts of a text.

    Attributes:
        keys: for each length from 1 to ``order`` the n-grams that occurred, int64, sorted.
        counts: their counts, int64.
    """

    def __init__(self, words: int, order: int, sentence_end: int | None = None):
        """``sentence_end`` is the word at which histories end: it ends one sentence and begins the next."""
        self.words = words
        self.order = order
        self.sentence_end = sentence_end
        none = np.empty(0, np.int64)
        self.keys: list[Integers] = [np.arange(words), *[none] * (order - 1)]
        self.counts: list[Integers] = [np.zeros(words, np.int64), *[none] * (order - 1)]
        self._before = self.beginning  # the last counted words

    @property
    def beginning(self) -> Integers:
        """The words before the first one: the end of a sentence, if there are sentences."""
        sentences = self.order > 1 and self.sentence_end is not None
        return np.array([self.sentence_end] if sentences else [], np.int64)

    def add(self, text: NDArray[np.integer], continues: bool = False) -> None:
        """Count a text (T,). With ``continues`` its first word follows the last one of the previous call."""
        if not continues:
            self._before = self.beginning
        for start in range(0, len(text), BLOCK):
            block = np.asarray(text[start : start + BLOCK], np.int64)
            self._merge(*self._count(block))
            read = np.concatenate([self._before, block])
            self._before = read[max(0, len(read) - self.order + 1) :]

    def _count(self, block: Integers) -> tuple[list[Integers], list[Integers]]:
        """Keys and counts of the n-grams that end in a block. Earlier words are only histories."""
        text = np.concatenate([self._before, block])
        counted = np.arange(len(text)) >= len(self._before)
        keys, counts = [], []
        history = np.zeros(len(text), np.int64)
        for length in range(1, self.order + 1):
            whole = history >= 0
            found, place = np.unique(history[whole] * self.words + text[whole], return_inverse=True)
            keys.append(found)
            counts.append(np.bincount(place[counted[whole]], minlength=len(found)))
            node = np.full(len(text), ABSENT)
            node[whole] = place
            history = self._shifted(np.array(ABSENT), self._as_history(length, node, text))
        return keys, counts

    def _merge(self, keys: list[Integers], counts: list[Integers]) -> None:
        """Add the counts of other text. New n-grams shift the indices of a level, and so the keys of the next."""
        own_parent = other_parent = np.zeros(1, np.int64)  # from indices of the old level to those of the joined level
        all_keys, all_counts = [], []
        for level in range(self.order):
            own, other = (
                parent[key // self.words] * self.words + key % self.words
                for parent, key in ((own_parent, self.keys[level]), (other_parent, keys[level]))
            )
            joined, place = np.unique(np.concatenate([own, other]), return_inverse=True)
            own_parent, other_parent = place[: len(own)], place[len(own) :]
            total = np.zeros(len(joined), np.int64)
            total[own_parent] += self.counts[level]
            total[other_parent] += counts[level]
            all_keys.append(joined)
            all_counts.append(total)
        self.keys, self.counts = all_keys, all_counts  # in one step, so that Ctrl-C leaves the old or the new

    def parents(self, length: int) -> Integers:
        """The history of each n-gram of this length: its index in the previous level."""
        return self.keys[length - 1] // self.words

    def totals(self, length: int, counts: Integers | None = None) -> Integers:
        """The sum of ``counts`` over all words that follow each history of ``length - 1`` words."""
        counts = self.counts[length - 1] if counts is None else counts
        histories = 1 if length == 1 else len(self.keys[length - 2])
        return np.bincount(self.parents(length), weights=counts, minlength=histories).astype(np.int64)

    def suffixes(self) -> list[Integers]:
        """For each length the index of every n-gram without its first word."""
        places = [np.zeros(self.words, np.int64)]
        for length in range(2, self.order + 1):
            shorter = places[-1][self.parents(length)]
            word = self.keys[length - 1] % self.words
            places.append(word if length == 2 else self.find(length - 1, shorter, word))
        return places

    def find(self, length: int, history: Integers, word: Integers) -> Integers:
        """The indices of n-grams of this length: UNSEEN if they never occurred, ABSENT if their history is."""
        if length == 1:
            return np.broadcast_to(word, history.shape)
        keys = self.keys[length - 1]
        if not len(keys):
            return np.where(history == ABSENT, ABSENT, UNSEEN)
        key = history * self.words + word
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        place = np.where(keys[place] == key, place, UNSEEN)
        return np.where(history < 0, history, place)

    def following(self, length: int, history: Integers) -> tuple[Integers, Integers]:
        """All n-grams of this length that continue these histories (B,): the row and index of each."""
        start, end = (np.searchsorted(self.keys[length - 1], (history + i) * self.words) for i in (0, 1))
        sizes = np.where(history >= 0, end - start, 0)
        row = np.repeat(np.arange(len(history)), sizes)
        return row, np.arange(sizes.sum()) + np.repeat(start - np.cumsum(sizes) + sizes, sizes)

    def no_history(self, batch: tuple[int, ...] = ()) -> Integers:
        """The state before any word (order, *batch): for every k the index of the last k words, all absent."""
        state = np.full((self.order, *batch), ABSENT)
        state[0] = 0
        return state

    def walk(self, text: Integers, state: Integers) -> tuple[list[Integers], list[Integers], Integers]:
        """Look up all n-grams of a text (T, *batch), after the histories in ``state`` (order, *batch).

        Returns:
            for each length the index of every word's history and of the n-gram that it ends, both in the text's
            shape; and the state after the last word.
        """
        histories, ngrams, after = [np.zeros_like(text)], [], [state[0]]
        for length in range(1, self.order + 1):
            ngrams.append(self.find(length, histories[-1], text))
            if length < self.order:
                node = self._as_history(length, ngrams[-1], text)
                histories.append(self._shifted(state[length], node))
                after.append(node[-1] if len(text) else state[length])
        return histories, ngrams, np.stack(after)

    def _as_history(self, length: int, ngram: Integers, text: Integers) -> Integers:
        """The part of an n-gram that is the next word's history: nothing before the end of a sentence."""
        if length == 1 or self.sentence_end is None:
            return ngram
        return np.where(text == self.sentence_end, ABSENT, ngram)

    @staticmethod
    def _shifted(first: Integers, node: Integers) -> Integers:
        return np.concatenate([np.broadcast_to(first, node.shape[1:])[None], node[:-1]]) if len(node) else node

    def arrays(self) -> dict[str, Integers]:
        """All arrays by name, for a file."""
        levels = zip(self.keys, self.counts, strict=True)
        named = {f"{length}-grams": np.stack(level) for length, level in enumerate(levels, 1)}
        return {**named, "before": self._before}

    def restore(self, arrays: Mapping[str, Integers]) -> None:
        """Restore what :meth:`arrays` returned; raises ValueError for arrays that counting cannot produce."""
        names = [*(f"{length}-grams" for length in range(1, self.order + 1)), "before"]
        if set(names) != set(arrays):
            raise ValueError(f"counts of order {self.order} are {', '.join(names)}, got {', '.join(arrays) or 'none'}")
        above = 1
        for length, name in enumerate(names[:-1], 1):
            level = arrays[name]
            if level.dtype != np.int64 or level.ndim != 2 or len(level) != 2:
                raise ValueError(f"{name} must be int64 of shape (2, N), got {level.dtype} of shape {level.shape}")
            keys, counts = level
            if length == 1 and not np.array_equal(keys, np.arange(self.words)):
                raise ValueError(f"{name} must be those of {self.words} words, got {len(keys)}")
            inside = not len(keys) or (keys[0] >= 0 and keys[-1] < above * self.words)
            if not inside or (keys[1:] <= keys[:-1]).any() or (counts < 0).any():
                raise ValueError(
                    f"{name} are damaged: keys must be ascending and have a history, and counts must not be negative"
                )
            self.keys[length - 1], self.counts[length - 1], above = keys, counts, len(keys)
        before = checked_ids(arrays["before"], self.words)
        if before.ndim != 1 or len(before) >= self.order:
            raise ValueError(f"before must be at most {self.order - 1} words, got shape {before.shape}")
        self._before = before.astype(np.int64)
        if any((place < 0).any() for place in self.suffixes()):
            raise ValueError("n-grams are damaged: the shorter n-gram without the first word must exist for each")


def checked_ids(tokens: Sequence[int] | NDArray[np.integer], words: int) -> NDArray:
    """Token ids as an array of any shape, checked: a wrong id would be counted as part of another n-gram."""
    ids = np.asanyarray(tokens)
    if ids.size == 0:
        return np.zeros(ids.shape, np.int64)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"expected token ids, which are integers, got an array of {ids.dtype}")
    if ids.min() < 0 or ids.max() >= words:
        wrong = int(ids.min() if ids.min() < 0 else ids.max())
        raise ValueError(f"token id {wrong} is not in the vocabulary, whose ids are 0 to {words - 1}")
    return ids
