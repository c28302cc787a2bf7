"""Word vectors and what one asks of them, under the names of gensim 4's KeyedVectors and with its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastrnn.word2vec import embedding, evaluate, formats, native, projector, similarity
from fastrnn.word2vec.files import opened
from fastrnn.word2vec.keyed import Key, Keyed, Query, listed

Neighbours = list[tuple[str, float]]


class WordVectors(Keyed):
    """A vector for each of some keys.

    Where a key is asked for, its row number does as well; a query is a key or a vector (D,). Similarities are cosines
    in float32. A vector of zeros, for which gensim has nan, has the similarity 0 to all.

    Args:
        keys: V different strings, the most frequent first.
        vectors: (V, D); float32 is kept as it is and not copied, anything else becomes float32.
        counts: (V,) how often each occurred, or None if that is not known.
        device: where similarities are computed, the CPU or a GPU. A GPU keeps a copy of the vectors.

    Raises:
        ValueError: The sizes differ, a key occurs twice, or the vectors are not a matrix.

    Example:
        >>> vectors = WordVectors(["cat", "dog", "tea"], np.array([[1, 0], [1, 1], [0, 1]]))
        >>> vectors.most_similar("cat", topn=1)
        [('dog', 0.7071067690849304)]
    """

    def most_similar(
        self,
        positive: Query | Sequence[Query] | Sequence[list[Query]] | None = None,
        negative: Query | Sequence[Query] | Sequence[list[Query]] | None = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The keys nearest to what ``positive`` has and ``negative`` has not (3CosAdd, Mikolov et al. 2013, section 4).

        Many queries at once are lists in a list, and the answers come as a list:
        ``most_similar([["king", "woman"], ["paris", "italy"]], [["man"], ["france"]])``.

        Args:
            positive: one query or several: keys, whose unit vectors are added and which are never among the answers;
                vectors, added as they are; or pairs of either and a weight.
            negative: the same to subtract. A weight of its own is taken with its sign, so that here, too, a pair with a
                weight above 0 adds; gensim does so.
            topn: how many answers; None gives the similarities of all rows, in their order, nothing left out.
            clip_start, clip_end: only rows from ``clip_start`` up to ``clip_end`` are answers.
            restrict_vocab: only so many first rows are answers; it takes the place of the two.

        Returns:
            A list of (key, similarity), the most similar first, or an array (V,) for ``topn=None``; for many queries a
            list of these, or an array (Q, V).
        """
        batch = _is_batch(positive) or _is_batch(negative)
        plus, minus = (_batch(each) if batch else [listed(each)] for each in (positive, negative))
        plus, minus = plus or [[] for _ in minus], minus or [[] for _ in plus]
        if len(plus) != len(minus):
            raise ValueError(f"Expected as many lists in negative as in positive, got {len(minus)} and {len(plus)}")
        queries, excluded = [], []
        for more, less in zip(plus, minus, strict=True):
            names, weights = _weighted(more, less)
            queries.append(
                self.get_mean_vector(names, weights, pre_normalize=True, post_normalize=True, ignore_missing=False)
            )
            excluded.append([self.get_index(name) for name in names if not isinstance(name, np.ndarray)])
        if restrict_vocab is not None:
            clip_start, clip_end = 0, restrict_vocab
        answers = self._nearest(np.stack(queries), excluded, topn, clip_start, clip_end)
        return answers if batch else answers[0]

    def similar_by_word(
        self, word: Key | Sequence[Key], topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """The keys nearest to a word; for a list of words, a list of such lists."""
        words: Any = [[each] for each in word] if isinstance(word, list) else word
        return self.most_similar(words, topn=topn, restrict_vocab=restrict_vocab)

    similar_by_key = similar_by_word

    def similar_by_vector(self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """The keys nearest to a vector (D,); for vectors (Q, D), a list of such lists."""
        vectors = np.atleast_2d(np.asarray(vector, dtype=np.float32))
        units = similarity.unit(torch.tensor(vectors)).numpy()
        answers = self._nearest(units, [[] for _ in units], topn, 0, restrict_vocab)
        return answers if np.ndim(vector) > 1 else answers[0]

    def _nearest(
        self, queries: np.ndarray, excluded: list[list[int]], topn: int | None, start: int, end: int | None
    ) -> Any:
        """The answers to unit vectors (Q, D), as :meth:`most_similar` returns them for many queries."""
        vectors, lengths = (each[start:end] for each in self.prepared())
        on_device = torch.from_numpy(queries).to(self.device)
        if topn is None:
            return similarity.cosines(vectors, lengths, on_device).cpu().numpy()
        if topn < 1 or not len(vectors):
            return [[] for _ in queries]
        inside = [[row - start for row in rows if 0 <= row - start < len(vectors)] for rows in excluded]
        answers: list[Neighbours] = []
        for scores, rows in similarity.nearest(vectors, lengths, on_device, inside, min(topn, len(vectors))):
            for values, places in zip(scores.tolist(), rows.tolist(), strict=True):
                pairs = zip(places, values, strict=True)
                answers.append([(self.index_to_key[start + row], value) for row, value in pairs if value > -np.inf])
        return answers

    def similarity(self, w1: Key, w2: Key) -> float:
        """The cosine of two keys' vectors."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: Key, w2: Key) -> float:
        """1 less the cosine of two keys' vectors."""
        return 1 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Query, other_words: Sequence[Key] = ()) -> np.ndarray:
        """1 less the cosine with each of ``other_words``, (n,); by default with all keys, (V,)."""
        query = self.get_mean_vector([word_or_vector], post_normalize=True, ignore_missing=False)
        vectors, lengths = self.prepared()
        if len(other_words):
            rows = torch.tensor([self.get_index(word) for word in other_words], device=self.device)
            vectors, lengths = vectors[rows], lengths[rows]
        on_device = torch.from_numpy(query[None]).to(self.device)
        return 1 - similarity.cosines(vectors, lengths, on_device)[0].cpu().numpy()

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """The cosine of the means of two groups of keys. Raises ZeroDivisionError if one has none, as gensim does."""
        if not (len(ws1) and len(ws2)):
            raise ZeroDivisionError(f"Expected at least one key in both groups, got {len(ws1)} and {len(ws2)}")
        means = (self.get_mean_vector(words, pre_normalize=False, post_normalize=True) for words in (ws1, ws2))
        return float(np.dot(*means))

    def rank_by_centrality(self, words: Sequence[Key], use_norm: bool = True) -> list[tuple[float, Key]]:
        """(cosine with the mean of all, word) of each word that has a vector, the most central first.

        Raises:
            ValueError: None of them has a vector.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError(f"Expected at least one word that has a vector, got {list(words)}")
        vectors = np.stack([self.get_vector(word, norm=use_norm) for word in known])
        mean = self.get_mean_vector(list(vectors), pre_normalize=False, post_normalize=True)
        return sorted(zip((vectors @ mean).tolist(), known, strict=True), reverse=True)

    def doesnt_match(self, words: Iterable[Key]) -> Key:
        """The word that is least like the mean of all; words without a vector are left out."""
        return self.rank_by_centrality(list(words))[-1][1]

    def closer_than(self, key1: Key, key2: Key) -> list[str]:
        """The keys, in their order, that are nearer to ``key1`` than ``key2`` is."""
        distances = self.distances(key1)
        nearer = np.flatnonzero(distances < distances[self.get_index(key2)]).tolist()
        return [self.index_to_key[row] for row in nearer if row != self.get_index(key1)]

    def rank(self, key1: Key, key2: Key) -> int:
        """Which neighbour of ``key1`` ``key2`` is: 1 for the nearest."""
        return len(self.closer_than(key1, key2)) + 1

    def evaluate_word_analogies(
        self,
        analogies: str | os.PathLike[str],
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[float, list[dict[str, Any]]]:
        """Answer "a is to b as c is to d" by the word nearest to b - a + c that is none of these three.

        Args:
            analogies: a file of lines "a b c d" under lines ": section".
            restrict_vocab: only so many first keys take part.
            case_insensitive: compare in capitals; of keys that are then the same, the first counts.
            dummy4unknown: a question with a word unknown is answered wrongly, rather than left out.

        Returns:
            The share of right answers; and for each section, then for all, a dict of "section", "correct" and
            "incorrect", lists of the questions' words.

        Raises:
            ValueError: A line is neither a section nor four words; the message names the file and the line.
        """
        return evaluate.word_analogies(self, analogies, restrict_vocab, case_insensitive, dummy4unknown)

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[evaluate.Correlation, evaluate.Correlation, float]:
        """Compare similarities with people's judgements: a file of lines of two words and a number; # begins a comment.

        Returns:
            Pearson's and Spearman's correlation, each (statistic, pvalue), and the percentage of pairs left out
            because a word is unknown; with ``dummy4unknown`` these have similarity 0 instead.

        Raises:
            ValueError: A line after the first is not such a line, or fewer than three pairs have vectors.
        """
        return evaluate.word_pairs(self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write keys, vectors and counts to fastrnn's own file, which :meth:`load` can map into memory."""
        native.save(file, self.index_to_key, self.vectors, self.counts)

    @classmethod
    def load(cls, file: str | os.PathLike[str], mmap: bool = False) -> WordVectors:
        """Read what :meth:`save` wrote; with ``mmap`` the vectors stay in the file until they are used."""
        return cls(*native.load(file, mmap))

    def save_word2vec_format(
        self, fname: str | os.PathLike[str], binary: bool = False, write_header: bool = True
    ) -> None:
        """Write word2vec's text or binary file, as gensim does: with counts, the most frequent keys first."""
        keys, vectors = self.index_to_key, self.vectors
        if self.counts is not None:
            order = np.argsort(-self.counts, kind="stable")
            keys, vectors = [keys[row] for row in order.tolist()], vectors[order]
        formats.save(fname, keys, vectors, binary, write_header)

    @classmethod
    def load_word2vec_format(cls, fname: str | os.PathLike[str], binary: bool = False, **options: Any) -> WordVectors:
        """Read word2vec's, GloVe's (``no_header=True``) or fastText's file; options as of ``formats.load``."""
        return cls(*formats.load(fname, binary, **options))

    @classmethod
    def read(cls, file: str | os.PathLike[str], limit: int | None = None) -> WordVectors:
        """Read any of these files: fastrnn's own, or text with or without its first line, or, if named .bin, binary."""
        with opened(file) as source:
            line = source.readline(1 << 12)
        if line == native.MAGIC:
            return cls.load(file, mmap=True)
        sizes = line.split()
        header = len(sizes) == 2 and all(size.isdigit() for size in sizes)
        binary = ".bin" in Path(file).suffixes
        return cls.load_word2vec_format(file, binary, limit=limit, no_header=not (header or binary))

    def to_embedding(
        self, freeze: bool = True, unknown: str | None = "<unk>", padding: str | None = "<pad>"
    ) -> tuple[torch.nn.Embedding, embedding.Rows]:
        """An embedding layer with a copy of these vectors, and the row of each word in it.

        Words keep their rows. Behind them come a row for unknown words, the mean of all vectors, and one for padding,
        zeros that training never changes. Vectors that have one of these keys already keep its row.

        Args:
            freeze: leave the weights as they are in training.
            unknown: the key of unknown words; None for no such row.
            padding: the key of padding; None for no such row.

        Example:
            >>> layer, rows = vectors.to_embedding(freeze=False)
            >>> layer(rows.encode("the cat sat".split())).shape
            torch.Size([3, 100])
        """
        return embedding.to_embedding(self, freeze, unknown, padding)

    def to_projector(self, folder: str | os.PathLike[str], limit: int | None = 10000) -> None:
        """Write vectors.tsv, metadata.tsv and a configuration for ``tensorboard --logdir folder``.

        Only ``limit`` first keys, for a browser is to hold them; a tab or line end in a key becomes a space.
        """
        projector.to_projector(self, folder, limit)


def _is_batch(queries: Any) -> bool:
    return isinstance(queries, (list, tuple)) and any(isinstance(each, list) for each in queries)


def _batch(queries: Any) -> list[list[Any]]:
    """The lists of many queries; none at all where there is no such argument."""
    if queries is not None and not all(isinstance(each, list) for each in queries):
        raise TypeError(f"Expected either keys or lists of keys, got both in {queries!r}")
    return [] if queries is None else list(queries)


def _weighted(positive: list[Any], negative: list[Any]) -> tuple[list[Any], list[float]]:
    """Keys or vectors and their weights: 1, or -1, unless a query has its own."""
    pairs = [
        query if isinstance(query, tuple) else (query, sign)
        for sign, queries in ((1.0, positive), (-1.0, negative))
        for query in queries
    ]
    return [query for query, _ in pairs], [weight for _, weight in pairs]
