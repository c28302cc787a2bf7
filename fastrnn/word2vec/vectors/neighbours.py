"""The keys nearest to a query: 3CosAdd and 3CosMul, one query or many in one product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastrnn.word2vec.vectors.keys import Key, Query, listed
from fastrnn.word2vec.vectors.lookup import Lookup
from fastrnn.word2vec.vectors.norms import unit

Neighbours = list[tuple[Any, float]]
EPSILON = 1e-6  # added to the divisor of 3CosMul; 0.001 in the paper, this value in gensim


class Nearest(Lookup):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that search all keys for the nearest."""

    def most_similar(
        self,
        positive: Query | Sequence[Query] | Sequence[list[Query]] | None = None,
        negative: Query | Sequence[Query] | Sequence[list[Query]] | None = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The keys nearest to the sum of ``positive`` minus ``negative`` (3CosAdd, Mikolov et al. 2013, section 4).

        To ask many queries at once, give lists of lists; the answers are then a list:
        ``most_similar([["king", "woman"], ["paris", "italy"]], [["man"], ["france"]])``.

        Args:
            positive: one or several of: keys, whose unit vectors are added and which are excluded from the answers;
                vectors, added as they are; or pairs of either with a weight.
            negative: the same, subtracted. In a pair the weight's own sign counts, so a positive weight adds here, too,
                as in gensim.
            topn: number of answers; None returns the similarities of all rows in table order, without exclusions.
            clip_start, clip_end: search only the rows from ``clip_start`` up to, but not including, ``clip_end``.
            restrict_vocab: search only this many first rows; overrides the two above.

        Returns:
            A list of (key, similarity), most similar first, or for ``topn=None`` an array (V,). For many queries a
            list of such lists, or an array (Q, V).
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

    def most_similar_cosmul(
        self,
        positive: Query | Sequence[Query] | None = None,
        negative: Query | Sequence[Query] | None = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """The keys near all of ``positive`` and far from all of ``negative``.

        This is 3CosMul (Levy and Goldberg, 2014, W14-1618): it divides products of (1 + cosine) / 2 where
        :meth:`most_similar` adds cosines. Arguments and answers are the same, for one query and without weights. Unlike
        gensim, it respects ``restrict_vocab``.
        """
        queries = [listed(each) for each in (positive, negative)]
        if not any(queries):
            raise ValueError("Expected at least one key or vector, got none")

        def units(group: list[Any]) -> np.ndarray:
            found = [self.get_mean_vector([each], post_normalize=True, ignore_missing=False) for each in group]
            return _check_finite(np.array(found, dtype=np.float32).reshape(len(group), self.vector_size))

        table = self.table[:restrict_vocab]
        positives, negatives = (((1 + table.cosines(units(group))) / 2).prod(dim=0) for group in queries)
        scores = positives / (negatives + EPSILON)
        if topn is None:
            return scores.cpu().numpy()
        given = [self.get_index(each) for group in queries for each in group if not isinstance(each, np.ndarray)]
        inside = [row for row in given if row < len(table)]
        values, rows = table.largest(scores[None], [inside], min(max(topn, 0), len(table)))
        return self._named(values[0].tolist(), rows[0].tolist())

    def similar_by_word(
        self, word: Key | Sequence[Key], topn: int | None = 10, restrict_vocab: int | None = None
    ) -> Any:
        """The keys nearest to a word; for a list of words, one list each."""
        words: Any = [[each] for each in word] if isinstance(word, list) else word
        return self.most_similar(words, topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_key(self, key: Key | Sequence[Key], topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """:meth:`similar_by_word`."""
        return self.similar_by_word(key, topn, restrict_vocab)

    def similar_by_vector(self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """The keys nearest to a vector (D,); for vectors (Q, D), one list each."""
        units = unit(np.atleast_2d(vector))
        answers = self._nearest(units, [[] for _ in units], topn, 0, restrict_vocab)
        return answers if np.ndim(vector) > 1 else answers[0]

    def _nearest(
        self, queries: np.ndarray, excluded: list[list[int]], topn: int | None, start: int, end: int | None
    ) -> Any:
        """The answers to queries (Q, D) of length 1, as :meth:`most_similar` returns them for many queries."""
        _check_finite(queries)
        table = self.table[start:end]
        if topn is None:
            return table.cosines(queries).cpu().numpy()
        if topn < 1 or not len(table):
            return [[] for _ in queries]
        inside = [[row - start for row in rows if 0 <= row - start < len(table)] for rows in excluded]
        answers: list[Neighbours] = []
        for scores, rows in table.nearest(queries, inside, min(topn, len(table))):
            for values, places in zip(scores.tolist(), rows.tolist(), strict=True):
                answers.append(self._named(values, [start + place for place in places]))
        return answers

    def _named(self, scores: list[float], rows: list[int]) -> Neighbours:
        """Keys and scores, without excluded rows."""
        return [(self.index_to_key[row], score) for score, row in zip(scores, rows, strict=True) if score > -np.inf]


def _check_finite(queries: np.ndarray) -> np.ndarray:
    """Check that queries (Q, D) are finite. Raises ValueError."""
    if not np.isfinite(queries).all():
        raise ValueError("Expected a query with finite vectors, got NaN or infinity")
    return queries


def _is_batch(queries: Any) -> bool:
    return isinstance(queries, (list, tuple)) and any(isinstance(each, list) for each in queries)


def _batch(queries: Any) -> list[list[Any]]:
    """The lists of many queries; an empty list if the argument is None."""
    if queries is not None and not all(isinstance(each, list) for each in queries):
        raise TypeError(f"Expected either keys or lists of keys, got both in {queries!r}")
    return [] if queries is None else list(queries)


def _weighted(positive: list[Any], negative: list[Any]) -> tuple[list[Any], list[float]]:
    """Keys or vectors with their weights: 1 or -1, unless the query has its own."""
    pairs = [
        query if isinstance(query, tuple) else (query, sign)
        for sign, queries in ((1.0, positive), (-1.0, negative))
        for query in queries
    ]
    return [query for query, _ in pairs], [weight for _, weight in pairs]
