"""The vocabulary: the words of a corpus that occur often enough, most frequent first."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from fastrnn.word2vec.corpus.arguments import Sentences
from fastrnn.word2vec.corpus.encoding import Encoded, encode
from fastrnn.word2vec.corpus.trim_rules import TrimRule, kept, least_count
from fastrnn.word2vec.corpus.word_counts import Counted, count_words


class Vocabulary:
    """The words of a corpus and how often each occurs.

    Attributes:
        index_to_key: the words, most frequent first; words of equal count in order of first appearance. Words that
            :meth:`update` adds come after all others.
        key_to_index: the index of each word in ``index_to_key``.
        counts: (V,) int64.
        total_words: number of words in the corpus, including rare ones.
        sentences: number of sentences in the corpus.
    """

    def __init__(self, keys: list[str], counts: np.ndarray, total_words: int | None = None, sentences: int = 0) -> None:
        """Make a vocabulary from known counts; ``total_words`` is their sum by default.

        Raises:
            ValueError: a word occurs twice, or there is not one count per word.
        """
        self.index_to_key = list(keys)
        self.key_to_index = {key: i for i, key in enumerate(keys)}
        self.counts = np.asarray(counts, np.int64)
        self.total_words = int(self.counts.sum()) if total_words is None else total_words
        self.sentences = sentences
        if self.counts.shape != (len(keys),):
            raise ValueError(
                f"expected {len(keys)} counts, one per word, got an array of shape {list(self.counts.shape)}"
            )
        if len(self.key_to_index) < len(keys):
            twice = next(key for i, key in enumerate(keys) if self.key_to_index[key] != i)
            raise ValueError(f"the word {twice!r} is in the vocabulary twice")

    @classmethod
    def build(
        cls,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        max_final_vocab: int | None = None,
        workers: int | None = None,
        trim_rule: TrimRule | None = None,
    ) -> Vocabulary:
        """Count the words of a corpus and keep those that occur ``min_count`` times or more.

        Args:
            max_vocab_size: limits the memory of counting; None for no limit. Whenever a sentence ends with more
                distinct words than this, rare words are discarded, as in gensim: the first time none, the second time
                those counted once, then those counted at most twice, and so on.
            max_final_vocab: raises ``min_count`` until at most this many words are kept.
            workers: number of threads that read a file; the result is the same for any number.
            trim_rule: called with every word, its count and ``min_count``; returns RULE_KEEP, RULE_DISCARD or
                RULE_DEFAULT of :mod:`fastrnn.word2vec`.

        Raises:
            ValueError: the corpus is empty, or no word is kept.
            TypeError, OSError: as :func:`fastrnn.word2vec.corpus.encode`.
        """
        found = count_words(sentences, corpus_file, min_count, max_vocab_size, workers, trim_rule)
        return cls.of(found, min_count, max_final_vocab, trim_rule)

    @classmethod
    def of(
        cls,
        found: Counted,
        min_count: int = 1,
        max_final_vocab: int | None = None,
        trim_rule: TrimRule | None = None,
    ) -> Vocabulary:
        """The vocabulary of counted words; arguments and errors as in :meth:`build`."""
        least = least_count(found.counts, min_count, max_final_vocab)
        order = kept(found.words, found.counts, least, trim_rule)
        if not order:
            limit = "" if max_final_vocab is None else f", or max_final_vocab={max_final_vocab} is too small"
            rule = "" if trim_rule is None else ", or trim_rule discards all words"
            raise ValueError(f"no word occurs min_count={min_count} times or more{limit}{rule}")
        return cls([found.words[i] for i in order], found.counts[order], found.total_words, found.sentences)

    def update(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        min_count: int = 5,
        max_vocab_size: int | None = None,
        workers: int | None = None,
    ) -> int:
        """Add the counts of another corpus. New words come after the present ones, most frequent first.

        Only words that occur ``min_count`` times or more in the new corpus are added. Arguments and errors are those of
        :meth:`build`, except that a corpus without new words is allowed.

        Returns:
            the number of new words.
        """
        before = len(self)
        self.__dict__ |= vars(self.updated(count_words(sentences, corpus_file, min_count, max_vocab_size, workers)))
        return len(self) - before

    def updated(self, found: Counted, min_count: int = 1, trim_rule: TrimRule | None = None) -> Vocabulary:
        """A new vocabulary: this one plus the counts of another corpus, as in :meth:`update`."""
        order = kept(found.words, found.counts, min_count, trim_rule)
        new = [i for i in order if found.words[i] not in self.key_to_index]
        counts = np.concatenate([self.counts, found.counts[new]])
        for i in order:
            row = self.key_to_index.get(found.words[i])
            if row is not None:
                counts[row] += found.counts[i]
        keys = self.index_to_key + [found.words[i] for i in new]
        return Vocabulary(keys, counts, self.total_words + found.total_words, self.sentences + found.sentences)

    def following(self, keys: list[str], counts: np.ndarray | None) -> tuple[Vocabulary, list[int]]:
        """The vocabulary of ``keys`` in their order: all words of this vocabulary, and possibly others.

        Args:
            counts: of all keys; used for the new ones, which otherwise have the count 0.

        Returns:
            the new vocabulary, and for each key its index in this one, or -1.

        Raises:
            ValueError: a word of this vocabulary is not among the keys, or a key is not a str.
        """
        rows = [self.key_to_index.get(key, -1) for key in keys]
        if len(keys) - rows.count(-1) < len(self):
            missing = next(key for key in self.index_to_key if key not in {*keys})
            raise ValueError(f"the model's vectors (wv) no longer have the word {missing!r}, which it trains")
        other = next((key for key in keys if not isinstance(key, str)), None)
        if other is not None:
            raise ValueError(f"the keys of a model's vectors (wv) must be str, got {other!r}")
        theirs = np.zeros(len(keys), dtype=np.int64) if counts is None else counts
        at = np.array(rows, dtype=np.int64)
        return Vocabulary(keys, np.where(at < 0, theirs, self.counts[at]), self.total_words, self.sentences), rows

    def encode(
        self,
        sentences: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        workers: int | None = None,
    ) -> Encoded:
        """Read a corpus as indices into this vocabulary: :func:`fastrnn.word2vec.corpus.encode`."""
        return encode(self.index_to_key, sentences, corpus_file, directory, workers)

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return key in self.key_to_index


def counted_by_hand(frequencies: Mapping[str, int], sentences: int = 0) -> Counted:
    """Given word counts, checked. Raises TypeError or ValueError for invalid ones."""
    words, numbers = list(frequencies), list(frequencies.values())
    whole = all(isinstance(number, (int, np.integer)) for number in numbers)
    if not whole or not all(isinstance(word, str) for word in words):
        raise TypeError("expected a mapping of words (str) to their counts (int)")
    if len(words) == 0 or min(numbers) < 0:
        raise ValueError(f"expected word counts of 0 or more, got {'none' if not words else min(numbers)}")
    total = sum(map(int, numbers))
    if total >= 2**63:
        raise ValueError(f"the counts must add up to less than 2**63, got {total}")
    return Counted(words, np.array(numbers, dtype=np.int64), total, sentences)
