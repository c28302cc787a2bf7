"""Similarity of given keys: cosines of their vectors, in pairs and in groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastrnn.word2vec.vectors.keys import Key, Query
from fastrnn.word2vec.vectors.lookup import Lookup
from fastrnn.word2vec.vectors.norms import lengths, unit


class Comparisons(Lookup):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that compare keys the caller names."""

    def similarity(self, w1: Key, w2: Key) -> float:
        """The cosine of two keys' vectors."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: Key, w2: Key) -> float:
        """1 minus the cosine of two keys' vectors."""
        return 1 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Query, other_words: Sequence[Key] = ()) -> np.ndarray:
        """1 minus the cosine with each of ``other_words``, (n,); by default with all keys, (V,)."""
        query = self.get_mean_vector([word_or_vector], post_normalize=True, ignore_missing=False)
        rows = [self.get_index(word) for word in other_words]
        table = self.table[rows] if rows else self.table
        return 1 - table.cosines(query[None])[0].cpu().numpy()

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> float:
        """The cosine of the means of two groups of keys. Like gensim, raises ZeroDivisionError for an empty group."""
        if not (len(ws1) and len(ws2)):
            raise ZeroDivisionError(f"Expected at least one key in both groups, got {len(ws1)} and {len(ws2)}")
        means = (self.get_mean_vector(words, pre_normalize=False, post_normalize=True) for words in (ws1, ws2))
        return float(np.dot(*means))

    def rank_by_centrality(self, words: Sequence[Key], use_norm: bool = True) -> list[tuple[float, Key]]:
        """(cosine with the mean of all, word) for each word that has a vector, the most central first.

        Raises:
            ValueError: None of the words has a vector.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError(f"Expected at least one word that has a vector, got {list(words)}")
        vectors = np.stack([self.get_vector(word, norm=use_norm) for word in known])
        mean = self.get_mean_vector(list(vectors), pre_normalize=False, post_normalize=True)
        _check_finite(mean, known)
        return sorted(zip((vectors @ mean).tolist(), known, strict=True), reverse=True)

    def doesnt_match(self, words: Iterable[Key]) -> Key:
        """The word least similar to the mean of all. Words without a vector are ignored."""
        return self.rank_by_centrality(list(words))[-1][1]

    def closer_than(self, key1: Key, key2: Key) -> list[Any]:
        """The keys that are closer to ``key1`` than ``key2`` is, in table order."""
        distances = self.distances(key1)
        _check_finite(distances[[self.get_index(key2)]], [key1, key2])
        nearer = np.flatnonzero(distances < distances[self.get_index(key2)]).tolist()
        return [self.index_to_key[row] for row in nearer if row != self.get_index(key1)]

    def rank(self, key1: Key, key2: Key) -> int:
        """The rank of ``key2`` among the neighbours of ``key1``: 1 for the nearest."""
        return len(self.closer_than(key1, key2)) + 1

    def words_closer_than(self, word1: Key, word2: Key) -> list[Any]:
        """:meth:`closer_than`, by gensim's older name."""
        return self.closer_than(word1, word2)

    def relative_cosine_similarity(self, wa: Key, wb: Key, topn: int = 10) -> float:
        """The cosine of two keys divided by the sum over the ``topn`` nearest to the first (Leeuwenberg et al., 2016).

        Above 1 / ``topn`` the second key is closer than these neighbours are on average, as synonyms are.
        """
        cosines = np.delete(1 - self.distances(wa), self.get_index(wa))
        nearest = np.sort(cosines[np.isfinite(cosines)])[::-1][:topn]
        return self.similarity(wa, wb) / float(nearest.sum())

    def wmdistance(self, document1: Sequence[Key], document2: Sequence[Key], norm: bool = True) -> float:
        """The Word Mover's Distance of two documents, lists of keys (Kusner et al., 2015). Needs scipy.

        Each document is a distribution over its words. The distance is the least cost of moving one distribution to the
        other, where a unit of mass costs the distance between the words' vectors. Words without a vector are ignored.

        Args:
            norm: scale the vectors to length 1 first.

        Returns:
            the distance; infinity if a document has no word with a vector.

        Raises:
            ImportError: scipy is not installed.
        """
        from fastrnn.word2vec.vectors.word_movers import word_movers_distance

        return word_movers_distance(self, document1, document2, norm)

    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """The key of ``keys_list`` that is most similar to ``key1``."""
        distances = self.distances(key1, keys_list)
        _check_finite(distances, [key1, *keys_list])
        return keys_list[int(np.argmin(distances))]

    @staticmethod
    def cosine_similarities(vector_1: np.ndarray, vectors_all: np.ndarray) -> np.ndarray:
        """The cosines (n,) of a vector (D,) and vectors (n, D)."""
        vectors = np.asarray(vectors_all, dtype=np.float32)
        return vectors @ unit(vector_1) / lengths(vectors)


def _check_finite(computed: np.ndarray, keys: list[Any]) -> None:
    """Raise ValueError if the vectors of the keys gave NaN or infinity."""
    if not np.isfinite(computed).all():
        raise ValueError(f"Expected keys with finite vectors, got NaN or infinity in the vectors of {keys}")
