"""How alike keys are: the cosines of their vectors, one by one and as groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fastrnn.word2vec.keyed import Key, Keyed, Query, lengths, unit


class Comparisons(Keyed):
    """What of :class:`fastrnn.word2vec.WordVectors` answers with numbers, or with some of the keys that are given."""

    def similarity(self, w1: Key, w2: Key) -> float:
        """The cosine of two keys' vectors."""
        return float(self.get_vector(w1, norm=True) @ self.get_vector(w2, norm=True))

    def distance(self, w1: Key, w2: Key) -> float:
        """1 less the cosine of two keys' vectors."""
        return 1 - self.similarity(w1, w2)

    def distances(self, word_or_vector: Query, other_words: Sequence[Key] = ()) -> np.ndarray:
        """1 less the cosine with each of ``other_words``, (n,); by default with all keys, (V,)."""
        query = self.get_mean_vector([word_or_vector], post_normalize=True, ignore_missing=False)
        rows = [self.get_index(word) for word in other_words]
        table = self.table[rows] if rows else self.table
        return 1 - table.cosines(query[None])[0].cpu().numpy()

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

    words_closer_than = closer_than

    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """The one of ``keys_list`` that is most similar to ``key1``."""
        return keys_list[int(np.argmin(self.distances(key1, keys_list)))]

    @staticmethod
    def cosine_similarities(vector_1: np.ndarray, vectors_all: np.ndarray) -> np.ndarray:
        """The cosines (n,) of a vector (D,) with vectors (n, D)."""
        vectors = np.asarray(vectors_all, dtype=np.float32)
        return vectors @ unit(vector_1) / lengths(vectors)
